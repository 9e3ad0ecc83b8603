// What voices say when they are tried, and what people read aloud to record one, by language. Not texts of the page:
// they are spoken in the voice's language, whichever the page is in.

// A greeting, which voices say; and what follows it where somebody reads for ten seconds, full of different sounds.
const SENTENCES = {
  en: ["Hello, this is how I sound.", "On quiet evenings we walk down to the harbour, watch the boats come in, and talk about everything that happened during the week."],
  es: ["Hola, así es como sueno.", "En las tardes tranquilas bajamos al puerto, vemos llegar los barcos y hablamos de todo lo que pasó durante la semana."],
  fr: ["Bonjour, voici ma voix.", "Les soirs tranquilles, nous descendons au port, regardons rentrer les bateaux et parlons de tout ce qui s'est passé dans la semaine."],
  de: ["Hallo, so klinge ich.", "An ruhigen Abenden gehen wir zum Hafen hinunter, schauen den Booten zu und reden über alles, was in der Woche geschehen ist."],
  it: ["Ciao, questa è la mia voce.", "Nelle sere tranquille scendiamo al porto, guardiamo rientrare le barche e parliamo di tutto quello che è successo in settimana."],
  pt: ["Olá, é assim que eu falo.", "Nas noites tranquilas descemos até o porto, vemos os barcos chegarem e conversamos sobre tudo o que aconteceu durante a semana."],
  pl: ["Cześć, tak właśnie brzmię.", "W spokojne wieczory schodzimy do portu, patrzymy na wracające łodzie i rozmawiamy o wszystkim, co się zdarzyło w tym tygodniu."],
  tr: ["Merhaba, sesim böyle.", "Sakin akşamlarda limana iner, dönen tekneleri izler ve hafta boyunca olan her şeyi konuşuruz."],
  ru: ["Здравствуйте, вот так я звучу.", "Тихими вечерами мы спускаемся к гавани, смотрим, как возвращаются лодки, и говорим обо всём, что случилось за неделю."],
  nl: ["Hallo, zo klink ik.", "Op rustige avonden lopen we naar de haven, kijken naar de boten en praten over alles wat er die week gebeurd is."],
  cs: ["Dobrý den, takhle zním.", "Za klidných večerů chodíme dolů do přístavu, díváme se na lodě a povídáme si o všem, co se během týdne stalo."],
  ar: ["مرحبا، هكذا يبدو صوتي.", "في الأمسيات الهادئة ننزل إلى الميناء، ونشاهد القوارب تعود، ونتحدث عن كل ما حدث خلال الأسبوع."],
  "zh-cn": ["你好，这就是我的声音。", "在安静的傍晚，我们走到港口，看着船一只只回来，聊聊这个星期发生的所有事情。"],
  hu: ["Jó napot, ilyen a hangom.", "Csendes estéken lesétálunk a kikötőbe, nézzük a hazatérő hajókat, és beszélgetünk mindarról, ami a héten történt."],
  ko: ["안녕하세요, 제 목소리는 이렇습니다.", "조용한 저녁이면 우리는 항구로 내려가 돌아오는 배를 바라보며 한 주 동안 있었던 일을 모두 이야기합니다."],
  ja: ["こんにちは、これが私の声です。", "静かな夕方には港まで歩いて、帰ってくる船を眺めながら、一週間の出来事をゆっくり話します。"],
  hi: ["नमस्ते, मेरी आवाज़ ऐसी है।", "शांत शामों में हम बंदरगाह तक टहलते हैं, लौटती नावें देखते हैं और पूरे हफ़्ते की बातें करते हैं।"],
};

/** A short sentence, two seconds or so. */
export function greeting(language) {
  return (SENTENCES[language] ?? SENTENCES.en)[0];
}

/** Ten seconds of reading. */
export function passage(language) {
  return (SENTENCES[language] ?? SENTENCES.en).join(" ");
}
