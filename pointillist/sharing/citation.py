"""What a ``CITATION.cff`` says of a study, in the words of schema.org (https://citation-file-format.github.io, 1.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pointillist.errors import PointillistError
from pointillist.sharing.libraries import needed_for_metadata

CITATION = "CITATION.cff"
_PLAIN = {
    "title": "name",
    "abstract": "description",
    "date-released": "datePublished",
    "version": "version",
    "url": "url",
    "repository-code": "codeRepository",
}
_HINT = "A minimal one stands in docs/provenance.md; https://citation-file-format.github.io describes all of it."


def read_citation(root: Path) -> dict[str, Any]:
    """Return the properties of a study that its citation file states; none if there is no such file.

    Parameters
    ----------
    root
        The folder of the project.

    Returns
    -------
    dict
        Text by property; ``author`` is a list of persons and organisations, each a mapping with ``@id`` and ``@type``.

    Raises
    ------
    PointillistError
        When the file can't be read or understood.
    """
    with needed_for_metadata("PyYAML"):
        import yaml

    path = root / CITATION
    try:
        # With this loader every value is the text that stands there: no date, no number is made of it.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise PointillistError(f"{CITATION} can't be read: {said}", hint=_HINT) from error
    if not isinstance(content, dict):
        raise PointillistError(f"{CITATION} has no entries.", hint=_HINT)
    about: dict[str, Any] = {new: content[old] for old, new in _PLAIN.items() if content.get(old)}
    if content.get("license-url") or content.get("license"):
        about["license"] = content.get("license-url") or _licences(content["license"])
    if content.get("doi"):
        about["identifier"] = f"https://doi.org/{content['doi']}"
    if content.get("keywords"):
        about["keywords"] = ", ".join(content["keywords"])
    authors = content.get("authors") or []
    if not isinstance(authors, list) or not all(isinstance(author, dict) for author in authors):
        raise PointillistError(f"{CITATION}: authors is no list of persons.", hint=_HINT)
    if authors:
        about["author"] = [_author(author) for author in authors]
    return about


def _licences(value: str | list[str]) -> str:
    """Return the address of a licence; several alternatives have none in common."""
    names = [value] if isinstance(value, str) else value
    return f"https://spdx.org/licenses/{names[0]}" if len(names) == 1 else " OR ".join(names)


def _author(entry: dict[str, str]) -> dict[str, Any]:
    """Return a person, or an organisation, which has one name only."""
    is_person = "name" not in entry
    if is_person:
        parts = ("given-names", "name-particle", "family-names", "name-suffix")
        name = " ".join(entry[part] for part in parts if entry.get(part)) or entry.get("alias", "")
    else:
        name = entry["name"]
    if not name:
        raise PointillistError(f"{CITATION}: an author has no name.", hint=_HINT)
    about: dict[str, Any] = {"@type": "Person" if is_person else "Organization", "name": name}
    about |= {new: entry[old] for old, new in _OF_PERSON.items() if entry.get(old)}
    if address := entry.get("orcid") or entry.get("website"):
        about["@id"] = address
    if entry.get("affiliation"):
        about["affiliation"] = {"@type": "Organization", "name": entry["affiliation"]}
    return about


_OF_PERSON = {"given-names": "givenName", "family-names": "familyName", "email": "email", "website": "url"}
