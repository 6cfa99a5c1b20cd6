"""The parts of a problem type (RFC 9457)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """The parts that all problems with one code share."""

    status: int
    """HTTP status code."""

    title: str
    """Short summary for people; the wording may change."""

    meaning: str
    """The cause, in one or two sentences."""

    advice: str
    """The next step of the client."""

    members: tuple[str, ...] = ()
    """Members that a problem of this type may have besides those of every problem."""

    hint: str = ""
    """A sentence that follows every detail; `{etag}` stands for the entity tag of the problem."""

    @property
    def explanation(self) -> str:
        """The cause and the next step, as `GET /problems/{code}` shows them."""
        return f"{self.meaning} {self.advice}"
