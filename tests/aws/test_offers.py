"""Where a service is offered: botocore's table says yes, or an endpoint that somebody named for it."""

from ecrsweep.aws.session import AwsSession

NOWHERE = "http://127.0.0.1:9"


def test_the_table_decides_where_everything_is_asked_elsewhere() -> None:
    session = AwsSession(region="us-east-1", environ={"AWS_ENDPOINT_URL": NOWHERE})
    assert session.offers("apprunner", "us-east-1")
    assert not session.offers("apprunner", "sa-east-1")


def test_an_endpoint_of_a_service_alone_is_there_to_be_asked() -> None:
    session = AwsSession(region="us-east-1", environ={"AWS_ENDPOINT_URL_APPRUNNER": NOWHERE})
    assert session.offers("apprunner", "sa-east-1"), "a region newer than the table must not read as one without it"
