"""A sentence in every language, for hearing and measuring a voice."""

from collections.abc import Mapping
from types import MappingProxyType

# Ordinary statements of some five seconds: a voice's level in them is that of most of what it says. Counting from one
# to ten, which needs no translation, came out 3 LU quieter with nano than its sentences are.
SAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "en": "The weather is so nice today that we are going for a long walk in the park this afternoon.",
        "es": "Hoy hace tan buen tiempo que esta tarde vamos a dar un largo paseo por el parque.",
        "fr": "Il fait si beau aujourd'hui que nous allons faire une longue promenade dans le parc cet après-midi.",
        "de": "Das Wetter ist heute so schön, dass wir am Nachmittag einen langen Spaziergang im Park machen.",
        "it": "Oggi il tempo è così bello che questo pomeriggio faremo una lunga passeggiata nel parco.",
        "pt": "O tempo está tão bonito hoje que esta tarde vamos dar um longo passeio pelo parque.",
        "pl": "Dziś jest tak ładna pogoda, że po południu idziemy na długi spacer po parku.",
        "tr": "Bugün hava o kadar güzel ki öğleden sonra parkta uzun bir yürüyüşe çıkıyoruz.",
        "ru": "Сегодня такая хорошая погода, что днём мы пойдём на долгую прогулку в парк.",
        "nl": "Het weer is vandaag zo mooi dat we vanmiddag een lange wandeling in het park gaan maken.",
        "cs": "Dnes je tak hezky, že odpoledne půjdeme na dlouhou procházku do parku.",
        "ar": "الجو جميل جدا اليوم ولذلك سنذهب بعد الظهر في نزهة طويلة في الحديقة.",
        "zh-cn": "今天天气非常好，所以我们下午要去公园里散步很久。",
        "hu": "Ma olyan szép az idő, hogy délután hosszú sétát teszünk a parkban.",
        "ko": "오늘은 날씨가 아주 좋아서 우리는 오후에 공원에서 오랫동안 산책을 할 거예요.",
        "ja": "今日はとても天気がいいので、午後は公園でゆっくり長い散歩をするつもりです。",
        "hi": "आज मौसम इतना अच्छा है कि हम दोपहर को पार्क में लंबी सैर पर जा रहे हैं।",
    }
)
