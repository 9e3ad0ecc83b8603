// What the page says, in the languages that it speaks: one file each, below texts/.

const REMEMBERED = "more.language";

/** Languages of the page, by what they call themselves. */
export const LANGUAGES = [
  ["en", "English"],
  ["pt", "Português"],
];

/** The language that was chosen here, else the first of the browser's that there is, else English. */
export function chosenLanguage() {
  const wanted = [localStorage.getItem(REMEMBERED), ...navigator.languages];
  const known = LANGUAGES.map(([code]) => code);
  return wanted.map((one) => one?.slice(0, 2)).find((one) => known.includes(one)) ?? "en";
}

export function rememberLanguage(code) {
  localStorage.setItem(REMEMBERED, code);
}

/**
 * `t("speak.again", {seconds: 3})`: a text with its `{seconds}` filled in. `count` chooses between the forms of a text
 * that is given as {"one": …, "other": …}.
 */
export async function loadTexts(language) {
  const response = await fetch(new URL(`texts/${language}.json`, import.meta.url));
  const texts = await response.json();
  const plural = new Intl.PluralRules(language);
  const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });

  function shown(value) {
    return typeof value === "number" ? numbers.format(value) : String(value);
  }
  return function t(key, values = {}) {
    let found = key.split(".").reduce((inside, part) => inside?.[part], texts);
    if (typeof found === "object") found = found[plural.select(values.count)] ?? found.other;
    if (typeof found !== "string") throw new Error(`there is no text ${key}`);
    return found.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
  };
}
