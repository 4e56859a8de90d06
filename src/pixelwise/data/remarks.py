"""What is worth knowing of a split of image files though it stops nothing; found from headers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelwise.data.io.images import Header
from pixelwise.data.io.orientation import UPRIGHT, swaps_sides
from pixelwise.errors import some


def of_orientation(
    images: Mapping[str, Header], exif: str = "apply", masks: Sequence[Header] | None = None
) -> list[str]:
    """Count the images that are to be turned, and name those whose masks may lie either way.

    Args:
        images: headers by key.
        exif: "apply" or "ignore".
        masks: headers of their masks, in the same order; None for labels of whole images.
    """
    turned = [key for key, header in images.items() if header.orientation != UPRIGHT]
    if not turned:
        return []
    done = "turned as viewers show them" if exif == "apply" else "taken as they are stored"
    other = "ignore" if exif == "apply" else "apply"
    remarks = [
        f"images with an EXIF orientation other than 1: {len(turned):,} of {len(images):,}, such as "
        f"{some(turned, 3)}; they are {done} (data.source.exif={exif})"
    ]
    doubtful = [key for key in turned if not _size_tells(images[key])] if masks is not None else []
    if doubtful:
        remarks.append(
            f"of {len(doubtful):,} of these the size does not tell whether the mask lies on the image as"
            f" shown or as stored (square, mirrored or turned by 180°), such as {some(doubtful, 3)}:"
            f" look at one with its mask; if they do not fit, data.source.exif={other}"
        )
    return remarks


def how_exif_fits(image: Header, mask: tuple[int, int], exif: str) -> str | None:
    """What to do about a mask of another size than its image, where only EXIF parts them; else None.

    Args:
        image: the header.
        mask: (H, W).
        exif: "apply" or "ignore", as the image is read now.
    """
    fits, other = ("stored", "ignore") if exif == "apply" else ("shown", "apply")
    if image.size(other) != mask:
        return None
    return (
        f"the mask fits the image as it is {fits}, for an EXIF orientation turns it:"
        f" data.source.exif={other} takes every image as it is {fits}"
    )


def _size_tells(header: Header) -> bool:
    """Whether the image as shown and as stored differ in size, one of which is the mask's."""
    return swaps_sides(header.orientation) and header.stored[0] != header.stored[1]


def of_colour_tables(masks: Mapping[str, Header], classes: int) -> list[str]:
    """Warn of PNG masks in which one index has several colours: then perhaps the colour tells the class.

    Args:
        masks: headers by key.
        classes: number K of classes: indices that are looked at.
    """
    first: dict[int, tuple[tuple[int, int, int], str]] = {}
    palette: dict[tuple[int, int, int], None] = {}
    differing: str | None = None
    for key, header in masks.items():
        for index in range(min(classes, len(header.table) // 3)):
            red, green, blue = header.table[3 * index : 3 * index + 3]
            colour = (red, green, blue)
            palette[colour] = None
            before, where = first.setdefault(index, (colour, key))
            if before != colour and differing is None:
                differing = f"index {index} is {before} in {where} and {colour} in {key}"
    if differing is None:
        return []
    listed = ",".join(str(list(colour)).replace(" ", "") for colour in list(palette)[: classes + 3])
    return [
        f"the masks differ in their colour tables: {differing}. Their indices are read; if the colours tell"
        f" the class: 'data.palette=[{listed}]', in the order of data.classes, and"
        " 'data.source.labels.palette=${data.palette}'"
    ]
