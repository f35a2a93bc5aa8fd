"""URLs that an attacker would try, and ordinary ones: what must become of each, and why it is in here.

Tables by hand, and combinations by rule. :data:`CORPUS` is all of it; ``test_egress_corpus.py`` plays it, as the first
URL of a call and as a redirect. A way around the policy that turns up anywhere belongs in here before it is mended.
"""
# ruff: noqa: RUF001 - characters that look like others are what this is about

from __future__ import annotations

from collections.abc import Iterable

from egress_addresses import OUTSIDE, Case, answers, combinations, embedded, metadata, numeric, ranges

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]


def _texts(group: str, reason: str, trap: str, *urls: str) -> Iterable[Case]:
    return (Case(group, url, reason, trap, (OUTSIDE,)) for url in urls)


def user_information() -> Iterable[Case]:
    """An ``@`` before the host, which hides it."""
    yield from _texts(
        "user information", "user information", "the name before the @ is not the host",
        "http://example.com@127.0.0.1/", "http://example.com:80@127.0.0.1/", "http://127.0.0.1@example.com/",
        "http://@127.0.0.1/", "http://:@127.0.0.1/", "http://a@b@127.0.0.1/", "http://a:b@127.0.0.1:80/",
        "http://example.com%40127.0.0.1@example.com/", "https://example.com;@127.0.0.1/", "http://u:p@example.com/",
        "http://example.com,127.0.0.1@example.com/", "http://[::1]@example.com/", "http://example.com@[::1]/",
    )  # fmt: skip
    yield from _texts(
        "user information", "", "an @ behind the host is none", "http://example.com/@127.0.0.1/",
        "http://example.com/?u=a@127.0.0.1", "http://example.com?@127.0.0.1/", "http://example.com#@[::1]/",
    )  # fmt: skip


def backslashes() -> Iterable[Case]:
    """Backslashes, which browsers read as slashes."""
    yield from _texts(
        "backslashes", "backslash", "a slash for some and a letter for others",
        "http://example.com\\@127.0.0.1/", "http://127.0.0.1\\@example.com/", "http:\\\\127.0.0.1\\",
        "http:/\\127.0.0.1/", "http:\\/127.0.0.1/", "http://example.com\\.127.0.0.1/", "http://exam\\ple.com/",
        "http://127.0.0.1:80\\.example.com/", "http://example.com/a\\b", "http://example.com/?\\", "\\\\example.com/",
        "http://example.com/#\\", "http://example.com\\127.0.0.1/",
    )  # fmt: skip


def control_characters() -> Iterable[Case]:
    """Every control character, where parsers drop it or end at it, and white space."""
    places = ("http://exam{}ple.com/", "http://{}example.com/", "http://example.com/a{}b", "http://127.0.0.1{}.a.b/")
    for code in _CONTROLS:
        for place in places:
            yield Case("control characters", place.format(chr(code)), "control", f"U+{code:04X}", (OUTSIDE,))
    yield from _texts(
        "control characters", "malformed", "a space in the host", "http://exam ple.com/", "http:// a/",
        "http://127.0.0.1 .example.com/", "http://example.com 127.0.0.1/", "http://example.com :80/",
    )  # fmt: skip
    stripped = ("\thttp://example.com/", "\nhttp://example.com/", "http://example.com/\r", "http://example.com/\n")
    yield from _texts("white space around", "control", "stripped by some", *stripped)
    yield from _texts("white space around", "absolute", "stripped by some", " http://example.com/", "\u00a0http://a.b/")


_DIGITS = {
    "circled": "⓪①②③④⑤⑥⑦⑧⑨", "full-width": "０１２３４５６７８９", "superscript": "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "subscript": "₀₁₂₃₄₅₆₇₈₉", "mathematical": "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗", "double-struck": "𝟘𝟙𝟚𝟛𝟜𝟝𝟞𝟟𝟠𝟡",
    "Arabic": "٠١٢٣٤٥٦٧٨٩", "Devanagari": "०१२३४५६७८९",
}  # fmt: skip


def unicode_hosts() -> Iterable[Case]:
    """Characters that some step on the way turns into ASCII."""
    for dot in "。．｡․﹒":
        hosts = (f"127{dot}0{dot}0{dot}1", f"localhost{dot}", f"example{dot}com", f"127.0.0.1{dot}example.com")
        urls = (f"http://{host}/" for host in hosts)
        yield from _texts("unicode", "not ASCII", f"U+{ord(dot):04X} for a dot", *urls)
    for name, digits in _DIGITS.items():
        for text in ("127.0.0.1", "169.254.169.254", "2130706433"):
            host = text.translate({ord("0") + value: digit for value, digit in enumerate(digits)})
            yield Case("unicode", f"http://{host}/", "not ASCII", f"{name} digits", (OUTSIDE,))
    yield from _texts(
        "unicode", "not ASCII", "folded into ASCII, or taken for the end of the host",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "http://ｌｏｃａｌｈｏｓｔ/", "http://ℓocalhost/", "http://loc𝒶lhost/", "http://local\u00adhost/",
        "http://local\u200bhost/", "http://\u00dfecret/", "http://localho\u017ft/", "http://\ufeffexample.com/",
        "http://exam\u200dple.com/", "http://\u33d5.example/", "http://[::\uff11]/", "http://[\uff1a\uff1a1]/",
        "http://example.com\uff1a80/", "http://ex\u0430mple.com/", "http://b\u00fccher.example/", "http://a\u2024b.com/",
        "http://example.com\uff0f.127.0.0.1/", "http://127.0.0.1\uff03.example/", "http://127.0.0.1\uff1f.example/",
        "http://127.0.0.1\u2100.example/", "http://127.0.0.1\u2048.example/", "http://example.com:\uff18\uff10/",
        "http://example.com\uff20127.0.0.1/",
    )  # fmt: skip
    yield from _texts(
        "surrogates", "backslash", "no text at all", "http://exam\ud800ple.com/", "http://a/\udfff", "http://a/?\udc80"
    )
    yield from _texts(
        "IDNA", "", "a name in its ASCII form", "http://xn--bcher-kva.example/", "http://xn--fiqs8s/",
        "http://www.xn--mnchen-3ya.example/", "http://xn--80ak6aa92e.example/",
    )  # fmt: skip
    yield from _texts(
        "IDNA", "", "a label that decodes to nothing: a name like any other, judged by its addresses", "http://xn--/",
        "http://xn--a/", "http://xn--99/", "http://a.xn--zzzzzzzzzz/", "http://xn--localhost/", "http://xn--127-.0.0.1/",
    )  # fmt: skip
    yield from _texts(
        "IDNA", "refused", "a label that may not stand beside one in xn-- form", "http://0axn--/", "http://xn--0-.1--/",
        "http://_xn--a0xn--0/", "http://_.xn--99.example/",
    )  # fmt: skip


def malformed_hosts() -> Iterable[Case]:
    """Percent signs, zones, brackets, dots, length."""
    yield from _texts(
        "percent signs", "malformed", "decoded by some before they look", "http://127%2e0%2e0%2e1/",
        "http://%31%32%37.0.0.1/", "http://%6c%6f%63%61%6c%68%6f%73%74/", "http://example.com%2f.a.b/",
        "http://127.0.0.1%00.example.com/", "http://127.0.0.1%23.example.com/", "http://127.0.0.1%2f.example.com/",
        "http://127.0.0.1%5c.example.com/", "http://example.com%3a80/", "http://%5b::1%5d/", "http://%/", "http://a%zz/",
        "http://127.0.0.1%20/", "http://127.0.0.1%09/", "http://%E2%91%A0.1.1.1/", "http://localhost%E3%80%82/",
    )  # fmt: skip
    yield from _texts(
        "zones", "malformed", "a link-local address with an interface", "http://[fe80::1%25eth0]/", "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/", "http://[fe80::1%251]/", "http://[fd00:ec2::254%25eth0]/", "http://[2606:4700::1%25a]/",
    )  # fmt: skip
    for address in ("fe80::1%eth0", "fe80::1%1", "2606:4700:4700::1111%eth0", "::1%lo"):
        yield Case("zones", "http://name.example/", "network interface", "an answer with a zone", (address,))
    for address in ("fd00:ec2::254%eth0", "fe80::a9fe:a9fe%2"):
        yield Case("zones", "http://name.example/", "cloud metadata", "a zone hides the service", (address,))
    yield from _texts(
        "brackets", "malformed", "not an IPv6 address in brackets", "http://[::1", "http://::1/", "http://::1]/",
        "http://[::1]x/", "http://[::1].example.com/", "http://x[::1]/", "http://[127.0.0.1]/", "http://[]/", "http://[:]/",
        "http://[v1.127.0.0.1]/", "http://[::ffff:127.0.0.1.1]/", "http://[1::2::3]/", "http://[::12345]/",
        "http://[[::1]]/", "http://[::1]:80:80/", "http://[0:0:0:0:0:0:0:0:1]/", "http://[::ffff:0x7f.1]/",
        "http://[::ffff:127.1]/", "http://[example.com]/",
    )  # fmt: skip
    for host in ("127.0.0.1.", "localhost.", "127.1.", "0x7f.1.", "2130706433.", "LOCALHOST", "LocalHost.", "loopback"):
        yield Case("trailing dots", f"http://{host}/", "loopback", "another text of the name", ("127.0.0.1",))
    yield from _texts("trailing dots", "", "a name from the root", "http://example.com./", "https://EXAMPLE.com.:443/")
    yield from _texts(
        "trailing dots", "malformed", "an empty label", "http://127.0.0.1../", "http://.127.0.0.1/", "http://a..b/",
        "http://./", "http://../", "http://.example.com/", "http://127..1/",
    )  # fmt: skip
    yield from _texts(
        "malformed", "malformed", "not a name", "http://-a.example/", "http://a!b.example/", "http://a,b.example/",
        "http://a;b.example/", "http://a'b.example/", "http://(a).example/", "http://a*b.example/", "http://*/",
        "http://a=b/", "http://a&b/", "http://a+b/", "http://a$b/", "http://{a}/", "http://a|b/", 'http://a"b/',
        "http://<a>/", "http://^a/", "http://`a`/", "http://~a/", "http://:80/", "http://", "http:///127.0.0.1/",
        "http:////127.0.0.1/", "http://?a", "http://#a", "http:///", "http://127.0.0.1&a.b/",
    )  # fmt: skip
    yield from _texts(
        "length", "malformed", "longer than a name can be", f"http://{'a' * 64}.com/", f"http://{'a.' * 127}com/",
        f"http://{'a' * 5000}/", f"http://{'1' * 300}/", f"http://{'0' * 300}177.0.0.1/",
        f"http://127.0.0.{'0' * 250}1/",
    )  # fmt: skip
    yield from _texts(
        "length", "longer than", "longer than a URL may be", "http://a/" + "x" * 8192, f"http://{'a.' * 9000}b/",
        "http://a/?" + "\u20ac" * 9000, "http://example.com/" + "@127.0.0.1/" * 900,
    )  # fmt: skip
    yield from _texts("length", "", "as long as a name can be", f"http://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 60}/")
    yield from _texts("length", "", "as long as a URL may be", "http://a/" + "x" * (8192 - 9))


_SCHEMES = (
    "about", "data", "dict", "file", "ftp", "ftps", "git", "gopher", "gophers", "h2c", "http+unix", "http2", "https1",
    "httpx", "imap", "jar", "javascript", "ldap", "ldaps", "mailto", "mysql", "netdoc", "news", "phar", "php", "pop3",
    "redis", "rtmp", "rtsp", "s3", "sftp", "smb", "smtp", "ssh", "svn", "telnet", "tftp", "unix", "view-source", "ws",
    "wss",
)  # fmt: skip


def schemes_and_ports() -> Iterable[Case]:
    """Other protocols, texts that are no absolute URL, ports."""
    for scheme in _SCHEMES:
        yield Case("schemes", f"{scheme}://example.com/", "its scheme is", "another protocol", (OUTSIDE,))
    yield from _texts(
        "schemes", "not absolute", "a URL for some", "http:/127.0.0.1/", "http:127.0.0.1", "https:example.com",
        "data:text/plain,x", "javascript:alert(1)", "file:/etc/passwd", "jar:http://example.com!/", "1http://example.com/",
        "url:http://127.0.0.1/", "blob:http://127.0.0.1/", "http;//example.com/", "http//example.com/", "ht tp://a.b/",
        "http\u017f://example.com/", "http:/", ":", "://example.com/",
    )  # fmt: skip
    yield from _texts(
        "not absolute", "not absolute", "taken for a URL by some", "", "example.com", "//example.com/", "/path", "?a=b",
        "#a", "127.0.0.1", "//127.0.0.1/", "[::1]", "localhost:80",
    )  # fmt: skip
    for port in (
        1,
        7,
        19,
        21,
        22,
        23,
        25,
        53,
        79,
        110,
        111,
        135,
        139,
        143,
        389,
        445,
        465,
        514,
        587,
        636,
        873,
        993,
        1023,
    ):
        yield Case("ports", f"http://example.com:{port}/", "below 1024", "a service that is not HTTP", (OUTSIDE,))
    yield from _texts("ports", "below 1024", "the port of an IPv6 address", "http://[2606:4700::1]:25/")
    for text in ("0", "00000", "65536", "65616", "99999"):
        yield Case("ports", f"http://example.com:{text}/", "its port", "out of range", (OUTSIDE,))
    yield from _texts(
        "ports", "malformed", "not a port", "http://example.com:/", "http://example.com:8o/", "http://example.com:80:80/",
        "http://example.com:+80/", "http://example.com:-80/", "http://example.com:0x50/", "http://example.com:80 /",
        "http://example.com:4294967376/", "http://example.com:000080/", "http://example.com:80.5/",
        "http://127.0.0.1:80:example.com/", "http://example.com:127.0.0.1/",
    )  # fmt: skip
    yield from _texts(
        "ports", "", "an ordinary port", "http://example.com:80/", "https://example.com:443/", "http://example.com:443/",
        "https://example.com:80/", "http://example.com:1024/", "http://example.com:8080/", "http://example.com:65535/",
        "http://example.com:00080/", "https://example.com:8443/",
    )  # fmt: skip


def public() -> Iterable[Case]:
    """Ordinary URLs."""
    urls = (
        "http://example.com", "HTTP://EXAMPLE.COM/", "https://example.com/a/b?c=d&e=f#g", "http://example.com?q=1",
        "http://a_b.example/", "http://_dmarc.example/", "http://1.example/", "http://1a.example/", "http://a-.example/",
        "http://example.com/%2e%2e/%00", "http://example.com/a b", "http://example.com/\u00fc?\u20ac=1", "http://a/",
        "http://example.com//127.0.0.1/", "http://example.com/http://127.0.0.1/", "http://example.com/?http://[::1]/",
        "http://127.0.0.1.nip.example/", "http://localhost.example/", "http://10.example.com/", "http://0x7f.example/",
        "http://example.com/#\u3002", "http://example.com/;@:", "https://sub.sub.sub.example.co.uk/", "http://x.y:8000/?",
        "http://example.com/'\"<>{}|^`", "https://hooks.example:8443/T0/B0", "http://example.com/.", "http://a.b.c.d.e/",
    )  # fmt: skip
    yield from _texts("public", "", "an ordinary URL", *urls)
    for address in ("1.1.1.1", "8.8.8.8", "9.9.9.9", "93.184.216.34", "151.101.1.69", "185.199.108.153", "223.5.5.5"):
        yield Case("public", f"https://{address}/", "", "a public address")


GROUPS = (
    numeric, embedded, ranges, metadata, user_information, backslashes, control_characters, unicode_hosts,
    malformed_hosts, schemes_and_ports, answers, public, combinations,
)  # fmt: skip
CORPUS = [case for group in GROUPS for case in group()]
