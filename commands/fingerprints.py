"""Whether things are what they were: `fingerprint`, `verify-files`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.names import ArtifactName, FileName, OutputFile
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from sessions.artifacts import Key
from sessions.events import Steps
from sessions.procedures.fingerprints import files_verified, fingerprints_of
from sessions.results import FilesVerified, Fingerprints
from sessions.session import Session

FAMILY = "Saved by name"


@verb(
    "fingerprint",
    family=FAMILY,
    synonyms=("hash", "sha256", "checksum"),
    example=("fingerprint", "fingerprint --write all.txt"),
)
class Fingerprint(Request, frozen=True):
    """Show the model's fingerprint, the sha256 of its current weights, and that of every saved file.

    The fingerprint is sampled from the checkpoint; circuits and edits are tied to it. The sha256 of the weights
    covers every bit in memory: with all edits off or undone it is again what it was when the model was opened.
    """

    names: Annotated[
        tuple[Key, ...], Arg(ArtifactName(), "artifacts (default: the model and all of them)", many=True)
    ] = ()
    write: Annotated[Path | None, Opt(OutputFile(), "write the sha256 sums to this file, for verify-files")] = None
    force: Annotated[bool, Flag("replace the list if it exists")] = False

    def run(self, session: Session) -> Steps[Fingerprints]:
        return (yield from fingerprints_of(session, names=self.names, written_to=self.write, force=self.force))


@verb(
    "verify-files", family=FAMILY, synonyms=("sha256sum", "integrity", "check files"), example="verify-files sums.txt"
)
class VerifyFiles(Request, frozen=True):
    """Check files against a list of sha256; it fails where one is changed or missing.

    The list is one that sha256sum writes, and --check reads. Paths in it are relative to its folder.
    fingerprint --write LIST makes one of everything that is saved.
    """

    reads_only = True

    path: Annotated[Path, Arg(FileName(), "a list of sha256, a line each: digest, two spaces, path")]

    def run(self, session: Session) -> Steps[FilesVerified]:
        return (yield from files_verified(session, listed=self.path))
