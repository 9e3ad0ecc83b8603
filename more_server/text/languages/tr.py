import re

from more_server.text.languages.base import Language, listed, moneys, nouns, one_form, words

MONTHS = listed("Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık")
_ONES = ("", *listed("bir iki üç dört beş altı yedi sekiz dokuz"))
_TENS = ("", *listed("on yirmi otuz kırk elli altmış yetmiş seksen doksan"))
_SCALES = ((10**12, "trilyon"), (10**9, "milyar"), (10**6, "milyon"), (1000, "bin"))
_ORDINALS = dict(
    pair.split(":")
    for pair in listed(
        "sıfır:sıfırıncı bir:birinci iki:ikinci üç:üçüncü dört:dördüncü beş:beşinci altı:altıncı yedi:yedinci "
        "sekiz:sekizinci "
        "dokuz:dokuzuncu on:onuncu yirmi:yirminci otuz:otuzuncu kırk:kırkıncı elli:ellinci "
        "altmış:altmışıncı yetmiş:yetmişinci "
        "seksen:sekseninci doksan:doksanıncı yüz:yüzüncü bin:bininci milyon:milyonuncu "
        "milyar:milyarıncı trilyon:trilyonuncu"
    )
)


def _cardinal(n: int, _gender: str) -> str:
    """Spaced as the spelling rules want it; num2words writes one long word and loses some numbers altogether."""
    parts = []
    for scale, name in _SCALES:
        count, n = divmod(n, scale)
        if count:
            parts += [name] if name == "bin" and count == 1 else [*_hundreds(count), name]
    return " ".join(parts + _hundreds(n)) or "sıfır"


def _hundreds(n: int) -> list[str]:
    hundreds, rest = divmod(n, 100)
    parts = ["", "yüz"] if hundreds == 1 else [_ONES[hundreds], "yüz"] if hundreds else []
    return [part for part in [*parts, _TENS[rest // 10], _ONES[rest % 10]] if part]


def _ordinal(n: int, _form: str) -> str:
    *head, last = _cardinal(n, "").split()
    return " ".join([*head, _ORDINALS[last]])


def _dotted(n: int, _before: str, after: str) -> str | None:
    return _ordinal(n, "") if after[0].islower() else None


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_cardinal(day, '')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    if not minute:
        return _cardinal(hour, "")
    return f"{_cardinal(hour, '')} {'sıfır ' if minute < 10 else ''}{_cardinal(minute, '')}"


def _phrases(text: str) -> str:
    # the sign stands before the number
    return re.sub(r"%\s?(\d+(?:[.,]\d+)*)", r"\1%", text)


def _roman(value: int, before: str, after: str) -> str | None:
    if after in ("yüzyıl", "yüzyılda", "yüzyılın", "asır", "Dünya") or after[:1].isupper():
        return _ordinal(value, "") if value > 1 or after == "Dünya" else None
    return str(value) if before.lower() in ("bölüm", "cilt", "kısım", "tip", "sınıf") else None


_MARKS = listed("inci ıncı uncu üncü nci ncı ncu ncü")

LANGUAGE = Language(
    code="tr",
    names=("turkish", "türkçe", "tur"),
    character_limit=226,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks=dict.fromkeys([q + mark for mark in _MARKS for q in ("", "'")], "") | {"º": ""},
    dotted_ordinal=_dotted,
    decimal=",",
    thousands=".",
    point="virgül",
    minus="eksi",
    fraction_as_number=True,
    plural=one_form,
    currencies=moneys("""
        ₺,TL,TRY    lira; kuruş
        $,US$,USD   dolar; sent
        €,EUR       avro; sent
        £,GBP       sterlin; peni
        ¥,JPY       yen
        ₹,INR       rupi
        zł,PLN      zloti
        Kč,CZK      Çek korunası
        Ft,HUF      forint
        ₽,RUB       ruble
        ₩,KRW       won
        R$,BRL      real
        CHF         İsviçre frangı
        CNY         yuan
    """),
    magnitudes=words("bin = bin; milyon = milyon; milyar = milyar; trilyon = trilyon"),
    units=nouns("""
        km kilometre; m metre; cm santimetre; mm milimetre; kg kilogram; g,gr gram; mg miligram; l,L litre
        ml mililitre
        km/h,km/s,km/sa saatte {} kilometre; m/s saniyede {} metre; °C santigrat derece; °F fahrenhayt derece
        ° derece; % yüzde {}; ‰ binde {}
        m² metrekare; km² kilometrekare; m³ metreküp; W vat; kW kilovat; kWh kilovat saat; V volt; Hz hertz
        kHz kilohertz; MHz megahertz; GHz gigahertz
        KB,kB kilobayt; MB megabayt; GB gigabayt; TB terabayt; sa saat; dk dakika; sn,s saniye; ms milisaniye
    """),
    suffixes=r"'[a-zçğıöşü]+",
    months=MONTHS,
    date=_date,
    time=_time,
    phrases=_phrases,
    range_word=" ila ",
    symbols=words("""
        & = ve; + = artı; @ = et; # = diyez; #1 = numara; = = eşittir; < = küçüktür; > = büyüktür
        ≤ = en çok; ≥ = en az; ≈ = yaklaşık; ~ = yaklaşık; × = çarpı; ÷ = bölü
        ± = artı eksi; § = paragraf; / = bölü; ½ = yarım; ¼ = çeyrek; ¾ = dörtte üç; ² = kare; ³ = küp
    """),
    addresses=words(". = nokta; @ = et; / = bölü; - = tire; _ = alt çizgi; : = iki nokta; + = artı"),
    letters="a be ce de e fe ge he ı je ke le me ne o pe kü re se te u ve çift-ve iks ye ze",
    more_letters={"Ç": "çe", "Ş": "şe", "Ö": "ö", "Ü": "ü", "Ğ": "yumuşak ge", "İ": "i"},
    titles=words("""
        Dr. = doktor; Prof. = profesör; Doç. = doçent; Av. = avukat; Sn. = sayın; B.^ = bay; Bn. = bayan
        Alb. = albay
        Gen. = general; St. = sen
        örn. = örneğin; bkz. = bakınız; yy. = yüzyıl; s.# = sayfa; no.# = numara; no:# = numara; tel. = telefon
        Cad. = caddesi; Sok. = sokak; Mah. = mahallesi
        yakl. = yaklaşık; byk. = büyük; vs. = vesaire; M.Ö. = milattan önce; M.S. = milattan sonra; Apt. = apartmanı
    """),
    closings=words("vb. = ve benzeri; vd. = ve diğerleri; A.Ş. = a şe; Ltd. = limited; Şti. = şirketi"),
    plain_words=(
        "ama ben bir biz bu çok da daha de değil dün en evet gel git gün her hiç için ile ise iyi ki kim mi "
        "mı mu mü ne o on sen siz son şu tam üç ve ver ya yok var yol ev al"
    ),
    roman=_roman,
    final_letters={"İ": "i", "I": "ı"},
)  # fmt: skip
