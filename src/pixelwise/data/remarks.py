"""Warnings about image files that do not prevent training, found from the headers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelwise.data.io.images import Header
from pixelwise.data.io.orientation import UPRIGHT, swaps_sides
from pixelwise.errors import some


def orientation_remarks(
    images: Mapping[str, Header], exif: str = "apply", masks: Sequence[Header] | None = None
) -> list[str]:
    """Report images with an EXIF orientation, and those whose masks may have either orientation.

    Args:
        images: headers by key.
        exif: "apply" or "ignore".
        masks: headers of the masks, in the same order; None for labels of whole images.
    """
    turned = [key for key, header in images.items() if header.orientation != UPRIGHT]
    if not turned:
        return []
    done = "rotated as viewers show them" if exif == "apply" else "read as stored"
    other = "ignore" if exif == "apply" else "apply"
    remarks = [
        f"images with an EXIF orientation other than 1: {len(turned):,} of {len(images):,}, such as "
        f"{some(turned, 3)}; they are {done} (data.source.exif={exif})"
    ]
    doubtful = [key for key in turned if not _size_decides(images[key])] if masks is not None else []
    if doubtful:
        remarks.append(
            f"for {len(doubtful):,} of these, the size does not show whether the mask matches the image as"
            f" shown or as stored (square, mirrored or rotated by 180°), such as {some(doubtful, 3)}:"
            f" check one with its mask; if they do not match, use data.source.exif={other}"
        )
    return remarks


def exif_fix(image: Header, mask: tuple[int, int], exif: str) -> str | None:
    """Return the fix if only the EXIF orientation makes a mask differ in size from its image, else None.

    Args:
        image: header of the image.
        mask: (H, W) of the mask.
        exif: "apply" or "ignore": how the image is read now.
    """
    fits, other = ("stored", "ignore") if exif == "apply" else ("shown", "apply")
    if image.size(other) != mask:
        return None
    return (
        f"the image has an EXIF orientation, and the mask fits the image as {fits}:"
        f" data.source.exif={other} reads every image as {fits}"
    )


def _size_decides(header: Header) -> bool:
    """Whether the image has another size as shown than as stored, so that the mask can match only one."""
    return swaps_sides(header.orientation) and header.stored[0] != header.stored[1]


def colour_table_remarks(masks: Mapping[str, Header], classes: int) -> list[str]:
    """Warn about masks in which one index has several colours, as the colour may define the class.

    Args:
        masks: headers by key.
        classes: number K of classes, which is the number of indices that are compared.
    """
    first: dict[int, tuple[tuple[int, int, int], str]] = {}
    palette: dict[tuple[int, int, int], None] = {}
    differing: str | None = None
    for key, header in masks.items():
        for index in range(min(classes, len(header.table) // 3)):
            red, green, blue = header.table[3 * index : 3 * index + 3]
            colour = (red, green, blue)
            palette[colour] = None
            first_colour, first_key = first.setdefault(index, (colour, key))
            if first_colour != colour and differing is None:
                differing = f"index {index} is {first_colour} in {first_key} and {colour} in {key}"
    if differing is None:
        return []
    listed = ",".join(str(list(colour)).replace(" ", "") for colour in list(palette)[: classes + 3])
    return [
        f"the masks have different colour tables: {differing}. Their indices are read; if the colours define"
        f" the class: 'data.palette=[{listed}]', in the order of data.classes, and"
        " 'data.source.labels.palette=${data.palette}'"
    ]


def lossy_remarks(masks: Mapping[str, Header]) -> list[str]:
    """Warn about masks in a format that changes their values, mostly at edges.

    Args:
        masks: headers by key.
    """
    lossy = [key for key, header in masks.items() if header.is_lossy]
    if not lossy:
        return []
    return [
        f"masks compressed with loss, as JPEG does: {len(lossy):,} of {len(masks):,}, such as"
        f" {some(lossy, 3)}; their labels are not exact: export them again as PNG"
    ]
