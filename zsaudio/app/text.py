"""Words of the page as HTML; what comes from people is escaped."""

from html import escape


def note(text: str) -> str:
    """Return a quiet line."""
    return f"<p>{escape(text)}</p>"


def wrong(*texts: str) -> str:
    """Return what went wrong, a line each."""
    return "".join(f'<p class="zs-wrong">{escape(text)}</p>' for text in texts)


def progress(text: str, share: float) -> str:
    """Return a line with how far the work is, in [0, 1]."""
    return f'<p>{escape(text)}</p><progress max="1" value="{share:.3f}"></progress>'
