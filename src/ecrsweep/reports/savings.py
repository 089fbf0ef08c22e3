"""How the true bytes of a plan and their worth read to people: exact where they are, "at most" where they are not."""

from collections.abc import Iterator, Mapping
from typing import Final

from ecrsweep.core.images import OwnReads
from ecrsweep.core.plan import Summary
from ecrsweep.core.prices import Prices, cost_of_archive
from ecrsweep.core.savings import Figures, Savings, Sizes, monthly_savings
from ecrsweep.reports.words import counted, size

_CENT: Final = 0.01


def upper_bound(count: int) -> str:
    """What the sizes that ECR tells add up to, named what it is."""
    return f"up to {size(count)} (layers may be shared: --exact-size counts each once)"


def going_bytes(summary: Summary, savings: Savings | None) -> str:
    """How much goes, for the sentence that a plan ends with."""
    if savings is None:
        return upper_bound(summary.delete_bytes_upper_bound)
    return f"{'' if savings.total.is_exact else 'at most '}{size(savings.total.delete)}"


def planned_bytes(count: int, figures: Figures | None) -> str:
    """How much a plan that is about to be carried out frees; `count` is the upper bound."""
    if figures is None or figures.delete_bytes_exact is None:
        return f"{size(count)} at most: layers may be shared"
    usd = figures.monthly_savings_usd or 0
    return size(figures.delete_bytes_exact) + (f", {_dollars(usd)} a month" if usd >= _CENT else "")


def archived_bytes(summary: Summary, savings: Savings | None) -> str:
    """How much moves into the archive, for the sentence that a plan ends with."""
    if savings is None:
        return f"up to {size(summary.archive_bytes_upper_bound)}"
    return f"{'' if savings.total.is_exact else 'at most '}{size(savings.total.moved_to_archive)}"


def archived_cell(summary: Summary, sizes: Sizes | None) -> str:
    """How much moves into the archive, for a row of the table."""
    if not summary.archive:
        return "-"
    if sizes is None:
        return size(summary.archive_bytes_upper_bound)
    return f"{'' if sizes.is_exact else 'at most '}{size(sizes.moved_to_archive)}"


def deleted_cell(summary: Summary, sizes: Sizes | None) -> str:
    """How much goes, for a row of the table."""
    if not summary.delete:
        return "-"
    if sizes is None:
        return size(summary.delete_bytes_upper_bound)
    return f"{'' if sizes.is_exact else 'at most '}{size(sizes.delete)}"


def sizes_line(sizes: Sizes) -> str:
    """What goes, moves and stays."""
    most = "" if sizes.is_exact else "at most "
    moved = f", {most}{size(sizes.moved_to_archive)} to the archive" if sizes.moved_to_archive else ""
    return f"{most}{size(sizes.delete)} go{moved}, {'about ' if most else ''}{size(sizes.keep)} stay"


def savings_lines(savings: Savings) -> Iterator[str]:
    """The true bytes of a plan, what they are worth at which prices, and what is not known of them."""
    regions = savings.by_region
    worth = _worth(savings.total, savings.monthly_usd)
    priced = f"{worth} at list price of {savings.prices.date}" if worth else ""
    yield f"True bytes, each layer counted once a repository: {sizes_line(savings.total)}{priced}."
    if len(regions) > 1:
        for region, sizes in regions.items():
            worth = _worth(sizes, monthly_savings(sizes, region, savings.prices))
            yield f"    {region}: {sizes_line(sizes)}{worth}"
    if not savings.total.is_exact:
        yield _unread(savings)
    if savings.assumed_regions:
        yield f"Prices: the list has none of {', '.join(savings.assumed_regions)}, so its default is taken there."
    if savings.unpriced_regions:
        yield f"Prices: none is known of {', '.join(savings.unpriced_regions)}, so no sum is told; --prices FILE gives one."


def archive_lines(by_region: Mapping[str, int], prices: Prices, *, exact: bool) -> Iterator[str]:
    """What each choice costs for bytes that go into the archive, by region: to archive, to bring back, to delete instead."""
    costs = [cost_of_archive(count, region, prices) for region, count in by_region.items() if count]
    known = [cost for cost in costs if cost is not None]
    if not known:
        return
    least, month = sum(cost.least for cost in known), sum(cost.a_month for cost in known)
    standard, back = sum(cost.standard_a_month for cost in known), sum(cost.restore for cost in known)
    saved = standard - month
    yield (
        f"Cost of archiving: {'' if exact else 'at most '}{_dollars(month)} a month, at least {prices.archive_minimum_days} days of it are billed "
        f"({_dollars(least)}); to bring all of it back {_dollars(back)}. It saves {_dollars(saved)} a month against keeping, "
        f"deleting saves {_dollars(standard)}; list price of {prices.date}."
    )


def blind_window(reads: OwnReads) -> str:
    """How many manifests we read ourselves; "" where there are none."""
    indexes = f"{reads.indexes:,} index{'' if reads.indexes == 1 else 'es'}" if reads.indexes else ""
    read = " and ".join(filter(None, [indexes, counted(reads.images, "image") if reads.images else ""]))
    return (
        f"Blind window: ecrsweep itself read {read}; a pull by others within a day of that may not show."
        if read
        else ""
    )


def _worth(sizes: Sizes, usd: float | None) -> str:
    """In words, where something goes or moves and its price is known."""
    if usd is None or not sizes.delete + sizes.moved_to_archive:
        return ""
    return f", worth {'' if sizes.is_exact else 'at most '}{_dollars(usd)} a month"


def _unread(savings: Savings) -> str:
    total = savings.total
    where = counted(savings.inexact_repositories, "repository")
    more = f" (and {total.unread - 1:,} more)" if total.unread > 1 else ""
    return (
        f"Not known: the layers of {counted(total.unread, 'manifest')} in {where}, so that what goes there is an upper "
        f"bound: {total.why or 'it was not read'}{more}"
    )


def _dollars(usd: float) -> str:
    if usd < _CENT:
        return "nothing" if usd == 0 else "less than a cent"
    return f"about ${usd:,.2f}"
