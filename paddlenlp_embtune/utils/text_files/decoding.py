"""Strict decoding of external text; the encoding is taken from a byte order mark, declared, or detected."""

from __future__ import annotations

import codecs
import itertools
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from paddlenlp_embtune.errors import EmbtuneError, expected_names

__all__ = ["BLOCK", "ENCODINGS", "BlockDecoder", "check_encoding", "file_blocks"]

BLOCK = 1 << 16
"""Bytes read at a time."""

ENCODINGS = (
    "utf-8",
    "gb18030",
    "big5",
    "big5hkscs",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "shift_jis",
    "euc_kr",
    "cp1252",
)
"""Encodings that may be declared, besides Python's aliases for them, ``gbk`` and ``gb2312``."""

# The supersets that Windows means by the names on the left.
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "big5": "cp950", "shift_jis": "cp932", "euc_kr": "cp949", "ascii": "utf-8"}
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive; name a workbook .xlsx, or save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password; save it as .xlsx without, or as CSV in UTF-8"),
    (b"\x1f\x8b", "compressed with gzip; end its name in .gz, or unpack it first"),
    (b"%PDF-", "a PDF; extract its text first"),
)
_LEGACY = ("gb18030", "cp950", "big5hkscs")
_WIDE = ("utf-16-le", "utf-16-be")
_SAMPLE, _HEAD = 1 << 16, 64
_MIN_SHARE, _MAX_RIVAL_SHARE = 0.3, 0.5
_MIN_COMMON = 3
_DAMAGED_SHARE = 0.1
# The 600 most frequent characters of news, reviews, statutes and forum posts, and their traditional forms.
_COMMON = (
    "的不了是一有人我好某个大很股就上在还这么到来没时中以年点后能也被用天都要下吃为元多可小机公方子发过月事会告看说其电出送家生他和比日行病高定国本东疗治太实道经买持得手价心开案什新错次分现感面意你度间增里"
    "前去证对利明市怎份同服自成司重情亿业吗真给法车合等觉最常们起金快期安长万西但回动店果三打地超理收书样务餐通房想味然量两品作酒那性资全购拟外货差于因菜产音关无美加问非如与原之计质预内医控所再口第当力头别"
    "海体减建只水民特正伤着话物肉部科商学表项而已哈单知老述者装二啊报少及工院应涨华做血交场员入格几才指清南路图让议提信喜完认吧盘总净解标进评张视些值今包牌药结目接位并处较调断基将宝直半网查欢主满又相注便费"
    "放城该己诉王化流复住周望候至饭检保客区平号停受北爱线近且女系程害拉耳种宗走诊投题跌光十热白办效带糖门马气向慢台钱配星低数级转般款山听片推更达据管死从支技尿晚儿色功四难越强充文见鉴风李速损失算集早尔名请"
    "续红友仓驶牛息江身划任故联把致反甲或组花试亚卖卡整块挺乐油板约像五何州驾边供每黄易设精龙制获呢订未态微首米卫术退变环考斯楼哪准换规套局升活刑陈确影许干记贵阳票京拿百权声轻容孩团立季疾游显男肝跟求件罪料"
    "版压由足空示乙连刚节广代根验神选离此需亏底双源终食适破降哥希取创谢共签赵香县字笑鸡待照黑德巴皮判刘居决排使先久午式布林型派传找借孕警火消售条录朱症眼户炎读深世备止始责朋置造左银统喝犯钟辣运石鱼拍荐师改"
)
_COMMON_TRADITIONAL = (
    "個箇還這麼麽來沒時點後喫爲為機發髮過會說説電齣傢國東療實經買價開錯現麪間裏證証對衕億業嗎眞給車閤覺們長萬迴動書樣務兩資購擬貨於產産關無問與計質預內醫當噹頭別彆體減隻傷話學錶項單裝報應漲華場員幾纔圖讓議"
    "認盤總淨凈標進評張視藥葯結並併處較調斷將寶網査歡滿註費該訴復複週飯檢區號愛線綫係種診題熱辦帶醣門馬氣嚮臺檯錢數級轉聽達據從兒難強見鑑鑒風損爾請續紅倉駛劃聯緻組試亞賣塊樂闆約駕邊黃設龍製獲穫訂態衛術朮變"
    "環樓準換規侷昇陳確許幹乾記貴陽權聲輕團糰遊顯壓連剛節廣驗選離虧雙終適創謝籤簽趙縣雞鷄劉決佈傳條錄彔硃癥戶讀備責銀統鍾鐘運魚薦師"
)
_MARKS_OF_SENTENCES = "，。、：；！？“”（）《》"
_EXPECTED = frozenset(_COMMON + _COMMON_TRADITIONAL + _MARKS_OF_SENTENCES)


def check_encoding(name: str, *, where: str, error: type[EmbtuneError]) -> str:
    """Return Python's name for an encoding that a user declared.

    Args:
        name: as declared; ``gbk`` and ``gb2312`` are read as their superset GB18030, ``big5`` as Windows writes it.
        where: the option that declares it.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; there is no such encoding.
    """
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    allowed = {codecs.lookup(each).name for each in (*ENCODINGS, *_WIDER, *_WIDER.values(), "utf-32-le", "utf-32-be")}
    if found not in allowed:
        raise error(f"{where} is {name!r}, which is not a supported encoding; {expected_names(name, ENCODINGS, limit=20)}")
    return _WIDER.get(found, found)


def file_blocks(path: Path, *, error: type[EmbtuneError], max_bytes: int | None = None) -> Iterator[bytes]:
    """Read a file, pipe or device lazily, block by block.

    Args:
        path: of the file.
        error: the exception to raise.
        max_bytes: size limit; None reads to the end.
    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file; callers report this themselves.
        EmbtuneError: of the type given; it cannot be read, or is larger.
    """
    try:
        with path.open("rb", buffering=0) as file:
            done = 0
            while block := file.read(BLOCK):
                done += len(block)
                if max_bytes is not None and done > max_bytes:
                    raise error(f"{path} is larger than the limit of {max_bytes:,} bytes; pass a smaller file")
                yield block
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as fault:  # ValueError: a path with a null character
        if isinstance(fault, EmbtuneError):
            raise
        raise error(f"cannot read {path}: {getattr(fault, 'strerror', None) or fault}; pass a readable file") from None


class BlockDecoder:
    """Decodes blocks of bytes strictly, as text in one encoding.

    A byte order mark takes precedence, then the declared encoding, then UTF-8 if the bytes are valid. Other bytes are decoded
    as GB18030, Big5 or UTF-16 only if that gives common Chinese characters and no other encoding scores even half as well.

    Args:
        blocks: of bytes, of any size.
        encoding: declared, as :func:`check_encoding` returns it; None detects it.
    """

    def __init__(self, blocks: Iterable[bytes], *, encoding: str | None = None) -> None:
        self.encoding = encoding
        self.guessed = False
        self._blocks = iter(blocks)
        self._done = 0

    def __iter__(self) -> Iterator[str]:
        """Yield the text in parts.

        Raises:
            UnicodeError: a byte cannot be decoded, or the encoding cannot be detected; its arguments are the message, from
                the verb on, and the text between the last chunk and the fault.
        """
        head = self._head()
        for magic, kind in _OTHER_FILES:
            if head.startswith(magic):
                raise UnicodeError(f"is {kind}", "")
        pending = self._without_mark(head)
        if self.encoding is None:
            while (block := pending or next(self._blocks, b"")) and block.isascii() and b"\0" not in block:
                pending = b""
                self._done += len(block)
                yield block.decode("ascii")
            pending = self._find(block)
        decoder = codecs.getincrementaldecoder(self.encoding or "utf-8")()
        for block in itertools.chain((pending,), self._blocks, (b"",)):
            try:
                text = decoder.decode(block, final=not block and block is not pending)
            except UnicodeDecodeError as error:
                raise self._undecodable(error, len(block)) from None
            self._done += len(block)
            yield text

    def _head(self) -> bytes:
        """Return the first block, plus more if it is too short to show a byte order mark, without waiting for a line."""
        head = next(self._blocks, b"")
        while head and len(head) < _HEAD and b"\n" not in head and (more := next(self._blocks, b"")):
            head += more
        return head

    def _without_mark(self, head: bytes) -> bytes:
        for mark, name in _MARKS:
            if head.startswith(mark):
                if self.encoding not in (None, name, name[:6], "utf-16-le" if name == "utf-32-le" else name):
                    raise UnicodeError(f"begins with the byte order mark of {name}, not of {self.encoding}; declare {name}", "")
                self.encoding = name
                self._done = len(mark)
                return head[len(mark) :]
        if self.encoding in ("utf-16", "utf-32"):  # without a byte order mark, as Windows writes it
            self.encoding += "-le"
        return head

    def _find(self, sample: bytes) -> bytes:
        """Read on until the encoding is clear; return the bytes read."""
        ended = False
        while True:
            self.encoding = _utf8_or_wide(sample, ended=ended, whole=not self._done)
            if self.encoding is None and (len(sample) >= _SAMPLE or ended):
                self.encoding, self.guessed = _by_evidence(sample, ended=ended, whole=not self._done), True
            if self.encoding is not None or ended:
                break
            if len(sample) >= _SAMPLE:
                break
            more = next(self._blocks, b"")
            sample, ended = sample + more, not more
        if self.encoding is None:
            raise self._unknown(sample)
        return sample

    def _unknown(self, sample: bytes) -> UnicodeError:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(sample, final=True)
        except UnicodeDecodeError as error:
            return self._undecodable(error, len(sample), further=" and its actual encoding cannot be detected")
        return UnicodeError("has an encoding that cannot be detected", "")

    def _undecodable(self, error: UnicodeDecodeError, size: int, *, further: str = "") -> UnicodeError:
        data = bytes(error.object)
        at = self._done + size - len(data) + error.start
        name = "UTF-8" if error.encoding == "utf-8" else (self.encoding or error.encoding)
        before = data[: error.start].decode(self.encoding or "utf-8", "ignore")
        return UnicodeError(f"is not {name}: byte {at} is {data[error.start]:#04x}{further}", before)


def _utf8_or_wide(sample: bytes, *, ended: bool, whole: bool) -> str | None:
    """Return UTF-8 if the bytes are valid, UTF-16 if null characters give it away, and None if more bytes are needed."""
    text = _strict(sample, "utf-8", ended=ended)
    if text is None:
        # A single odd byte in otherwise valid UTF-8 is damage, not a reason to decode everything in another encoding.
        loose = sample.decode("utf-8", "replace")
        odd = sum(not character.isascii() for character in loose)
        return "utf-8" if odd and loose.count("\ufffd") < _DAMAGED_SHARE * odd else None
    if whole and "\0" in text and (wide := _by_evidence(sample, ended=ended, whole=True, names=_WIDE)) is not None:
        return wide
    return "utf-8" if ended or not text.isascii() or "\0" in text else None


def _by_evidence(sample: bytes, *, ended: bool, whole: bool, names: Iterable[str] | None = None) -> str | None:
    """Return the encoding that gives typical Chinese text; None if none does or several do."""
    found = dict[str, tuple[float, int]]()
    for name in names or ((*_LEGACY, *_WIDE) if whole else _LEGACY):
        text = _strict(sample, name, ended=ended)
        if text is not None and not (name in _WIDE and _is_odd(text)):
            found[name] = _likeness(text, wide=name in _WIDE)
    if "cp950" in found:
        found.pop("big5hkscs", None)  # the same except for rare characters
    if not found:
        return None
    best = max(found, key=lambda name: found[name])
    share, common = found.pop(best)
    rival = max((other for other, _ in found.values()), default=0.0)
    return best if share >= _MIN_SHARE and common >= _MIN_COMMON and rival <= _MAX_RIVAL_SHARE * share else None


def _strict(sample: bytes, name: str, *, ended: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(name)().decode(sample, final=ended)
    except UnicodeDecodeError:
        return None


def _likeness(text: str, *, wide: bool) -> tuple[float, int]:
    """Return the share of expected characters and their number; ASCII counts only in encodings of two bytes."""
    telling = [character for character in text if wide or not character.isascii()]
    expected = sum(character in _EXPECTED or character.isascii() for character in telling)
    return expected / max(1, len(telling)), expected


def _is_odd(text: str) -> bool:
    """Return whether a text has what no text file should: control characters, surrogates, unassigned code points."""
    return any(
        character not in "\t\r\n" and unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") for character in set(text)
    )
