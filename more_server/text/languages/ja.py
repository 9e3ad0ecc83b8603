import re

from more_server.text.languages.base import Language, Noun, moneys, nouns, one_form, words

_DIGITS = "零一二三四五六七八九"
# cutlet reads these characters one by one; katakana it leaves whole, hiragana it takes apart
_DAYS = {2: "フツカ", 4: "ヨッカ", 7: "ナノカ", 14: "十ヨッカ", 24: "二十ヨッカ"}
_MONTHS = {4: "シガツ", 7: "シチガツ", 9: "クガツ"}
_HOURS = {4: "ヨジ", 7: "シチジ", 9: "クジ", 14: "十ヨジ", 17: "十シチジ", 19: "十クジ", 24: "二十ヨジ"}


def _section(n: int) -> str:
    text = ""
    for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, power)
        if digit:
            text += ("" if digit == 1 and unit else _DIGITS[digit]) + unit
    return text


def _cardinal(n: int, _gender: str) -> str:
    if n == 0:
        return "ゼロ"
    parts = ""
    for power, unit in ((10**12, "兆"), (10**8, "億"), (10**4, "万"), (1, "")):
        count, n = divmod(n, power)
        if count:
            parts += _section(count) + unit
    return parts


def _ordinal(n: int, _form: str) -> str:
    return f"{_cardinal(n, '')}番目"


def _count(n: int, noun: Noun) -> str:
    return f"{_cardinal(n, '')}{noun.forms[0]}"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_MONTHS.get(month) or _cardinal(month, '') + '月'}{_DAYS.get(day) or _cardinal(day, '') + '日'}"
    return text if year is None else f"{_cardinal(year, '')}年{text}"


def _time(hour: int, minute: int, _before: str) -> str:
    text = _HOURS.get(hour) or f"{'零' if not hour else _cardinal(hour, '')}時"
    return f"{text}{_cardinal(minute, '')}分" if minute else text


_CLOCK = re.compile(r"(?<!\d)(\d{1,2})時(?!間)(?:(\d{1,2})分)?")
_MONTH = re.compile(r"(?<!\d)([479])月")


def _phrases(text: str) -> str:
    def clock(m: re.Match[str]) -> str:
        return _time(int(m[1]), int(m[2] or 0), "")

    def month_day(m: re.Match[str]) -> str:
        month, day = int(m[1]), int(m[2])
        return _date(day, month, None, "") if 1 <= month <= 12 and 1 <= day <= 31 else m[0]

    text = re.sub(r"(?<!\d)(\d{1,2})月(\d{1,2})日(?!間)", month_day, text)
    return _MONTH.sub(lambda m: _MONTHS[int(m[1])], _CLOCK.sub(clock, text))


LANGUAGE = Language(
    code="ja",
    names=("japanese", "日本語", "jpn", "jp"),
    character_limit=71,
    cardinal=_cardinal,
    ordinal=_ordinal,
    digits="ゼロ 一 二 三 四 五 六 七 八 九",
    decimal=".",
    thousands=",",
    point="点",
    minus="マイナス",
    plural=one_form,
    count=_count,
    spaced=False,
    currencies=moneys("""
        ¥,JPY       円
        $,US$,USD   ドル
        €,EUR       ユーロ
        £,GBP       ポンド
        ₹,INR       ルピー
        zł,PLN      ズウォティ
        Kč,CZK      コルナ
        Ft,HUF      フォリント
        ₺,TRY       リラ
        ₽,RUB       ルーブル
        ₩,KRW       ウォン
        R$,BRL      レアル
        CHF         スイスフラン
        CNY         人民元
    """),
    magnitudes=words("万 = 万; 億 = 億; 兆 = 兆; 百万 = 百万; 千万 = 千万"),
    units=nouns("""
        km キロメートル; m メートル; cm センチメートル; mm ミリメートル; kg キログラム; g グラム; mg ミリグラム
        l,L リットル; ml,mL ミリリットル
        km/h キロメートル毎時; m/s メートル毎秒; °C 度; °F 華氏度; ° 度; % パーセント; ‰ パーミル; m² 平方メートル
        km² 平方キロメートル; m³ 立方メートル
        W ワット; kW キロワット; kWh キロワット時; V ボルト; Hz ヘルツ; kHz キロヘルツ; MHz メガヘルツ
        GHz ギガヘルツ; KB,kB キロバイト
        MB メガバイト; GB ギガバイト; TB テラバイト; h 時間; min 分; s 秒; ms ミリ秒
    """),
    months=tuple(f"{i}月" for i in range(1, 13)),
    date_order="ymd",
    date=_date,
    time=_time,
    phrases=_phrases,
    padded=False,
    range_word="から",
    symbols=words("""
        & = アンド; + = プラス; @ = アットマーク; # = シャープ; #1 = ナンバー; = = イコール; < = 小なり; > = 大なり
        ≤ = 以下; ≥ = 以上; ≈ = 約; ~ = 約; × = かける; ÷ = 割る
        ± = プラスマイナス; § = セクション; / = {1}分の{0}; ½ = 二分の一; ¼ = 四分の一; ¾ = 四分の三; ² = の二乗
        ³ = の三乗
    """),
    addresses=words("""
        . = ドット; @ = アットマーク; / = スラッシュ; - = ハイフン
        _ = アンダーバー; : = コロン; + = プラス
    """),
    letters=(
        "エー ビー シー ディー イー エフ ジー エイチ アイ ジェー ケー エル エム エヌ オー ピー キュー アール "
        "エス ティー ユー ブイ ダブリュー エックス ワイ ゼット"
    ),
    titles=words("Dr. = ドクター; Mr. = ミスター; Mrs. = ミセス; vs. = 対; No.# = ナンバー"),
    closings=words("etc. = など"),
)  # fmt: skip
