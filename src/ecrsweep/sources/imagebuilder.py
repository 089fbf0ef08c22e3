"""EC2 Image Builder as witness: container recipes, with the image each one begins with and the images its Dockerfile names.

A recipe never changes, and a pipeline builds from it whenever it is due. What a recipe builds is not in use by having been built.
API: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/Welcome.html
"""

import re
from collections.abc import Iterator
from typing import Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, ecr_names

NAME: Final = "imagebuilder"

_PAGE: Final = 100
_BUILT_IMAGE: Final = re.compile(r"arn:[\w-]+:imagebuilder:[\w-]*:(?P<account>[\w-]+):image/.+")


class ImageBuilderSource:
    """Every image name that Image Builder holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = ("imagebuilder:GetContainerRecipe", "imagebuilder:GetImage", "imagebuilder:ListContainerRecipes")

    about = About(
        system="EC2 Image Builder",
        calls="ListContainerRecipes, GetContainerRecipe; GetImage for recipes that begin with an image of Image Builder",
        keeps=(
            "the parent image of every container recipe, and the names of ECR that stand in its Dockerfile; where the parent "
            "is an image of Image Builder, the containers that its newest build put out"
        ),
        unknowable="parents that are images of Image Builder in other accounts: noted",
        service="imagebuilder",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Recipe by recipe. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "imagebuilder", answering("ResourceNotFoundException"))
        recipes = list(reading.part(_recipes(reading)))
        yield from reading.part(_of_dockerfiles(reading, [arn for arn, _ in recipes]))
        yield from reading.part(_of_parents(reading, recipes))
        reading.finish()


def _recipes(reading: Reading) -> Iterator[tuple[str, str]]:
    """ARN and parent image of every recipe."""
    listed = reading.listed("list_container_recipes", "containerRecipeSummaryList", owner="Self", maxResults=_PAGE)
    for recipe in listed:
        yield str(recipe["arn"]), str(recipe.get("parentImage", ""))


def _of_dockerfiles(reading: Reading, arns: list[str]) -> Iterator[Use]:
    for arn, recipe in reading.each(lambda arn: _recipe(reading, arn), arns):
        for image in dict.fromkeys(ecr_names(recipe.get("dockerfileTemplateData", ""))):
            yield _use(reading.place, image, arn, "Dockerfile")


def _recipe(reading: Reading, arn: str) -> Json:
    answer = reading.described("get_container_recipe", "containerRecipe", containerRecipeArn=arn)
    found: Json = answer["containerRecipe"]
    return found


def _of_parents(reading: Reading, recipes: list[tuple[str, str]]) -> Iterator[Use | Note]:
    built: dict[str, list[str]] = {}
    for arn, parent in recipes:
        image = _BUILT_IMAGE.fullmatch(parent)
        if image is None:
            if parent:
                yield _use(reading.place, parent, arn, "parent image")
        elif image["account"] == reading.place.account:
            built.setdefault(parent, []).append(arn)
        elif image["account"] != "aws":
            yield Note(f"it begins with {parent}, whose containers cannot be read here", arn)
    for parent, outputs in reading.each(lambda arn: _put_out(reading, arn), built):
        for output in outputs:
            yield from (_use(reading.place, output, arn, f"parent image {parent}") for arn in built[parent])


def _put_out(reading: Reading, arn: str) -> list[str]:
    """The names of the containers that an image of Image Builder is; a version with an x in it means its newest build."""
    answer = reading.described("get_image", "image", imageBuildVersionArn=arn)
    containers = (answer["image"].get("outputResources") or {}).get("containers") or ()
    return [uri for container in containers for uri in container.get("imageUris", ())]


def _use(place: Place, image: str, recipe: str, where: str) -> Use:
    return Use(image, recipe, NAME, place.account, place.region, where)
