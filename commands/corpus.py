"""Which texts are read: the options of the verbs that go through a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from commands.names import FileName
from commands.request import Opt, Options
from commands.words import SEEDS, Whole
from sessions.errors import UsageError
from sessions.events import Steps

if TYPE_CHECKING:
    from sessions.session import Session
    from sessions.texts.corpus import Corpus


class CorpusWord(FileName):
    """A corpus: a file, a folder, or `hf:NAME`."""

    name = "corpus"
    shape = "FILE|FOLDER|hf:NAME"

    def read(self, text: str) -> str:  # type: ignore[override]
        if not text.startswith("hf:"):
            super().read(text)
        elif text == "hf:":
            raise UsageError("the data set has no name", "for example: hf:roneneldan/TinyStories")
        return text


class OfCorpus(Options, frozen=True):
    """The documents of a corpus, and how much of each."""

    group = "What is read"

    corpus: Annotated[str | None, Opt(CorpusWord(), "the texts (default: built-in short paragraphs)")] = None
    docs: Annotated[int | None, Opt(Whole(most=SEEDS), "documents to read at most, from the first")] = None
    length: Annotated[int | None, Opt(Whole(2, 65536), "tokens to cut documents to, BOS included (default: 128)")] = (
        None
    )

    def documents(self) -> Corpus:
        """The corpus that is named, or the one that is built in. Nothing is read yet."""
        from sessions.texts.corpus import Corpus

        return Corpus(self.corpus or "", self.docs)

    def ids(self, session: Session) -> Steps[tuple[list[tuple[int, ...]], str]]:
        """The ids of the documents, each cut, and what the corpus is called."""
        from sessions.atlas.building import LENGTH, document_ids

        corpus, opened, length = self.documents(), session.opened(), self.length or LENGTH
        survey = yield from corpus.surveyed(session.cancel)
        texts = [tuple(document_ids(opened, text, length)) for text in corpus.documents()]
        corpus.check(survey)
        return texts, f"{survey.documents:,} documents of {corpus.name}"
