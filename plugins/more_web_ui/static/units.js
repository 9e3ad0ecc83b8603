// Figures as people of a language write them.

const MEGABYTE = 1e6;
const GIGABYTE = 1e9;
const HOUR = 3600;
const DAY = 86_400;

/** @returns what writes figures in the language of the page. */
export function units(app) {
  const write = (value, unit, digits) => {
    const style = unit ? "unit" : "decimal";
    const how = { style, unit: unit || undefined, unitDisplay: "short", maximumFractionDigits: digits };
    return new Intl.NumberFormat(app.language, how).format(value);
  };
  const times = new Intl.DateTimeFormat(app.language, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(app.language, { timeStyle: "medium" });
  const languages = new Intl.DisplayNames(app.language, { type: "language" });
  return {
    number: (value, digits = 2) => write(value, "", digits),
    bytes: (value) => (value >= GIGABYTE ? write(value / GIGABYTE, "gigabyte", 2) : write(value / MEGABYTE, "megabyte", 1)),
    /** Seconds, to be read at a glance. */
    seconds: (value) => (value < 1 ? write(1000 * value, "millisecond", 0) : write(value, "second", 2)),
    /** Seconds that something has lasted: two units at most. */
    lasted(value) {
      const parts = [
        [Math.floor(value / DAY), "day"],
        [Math.floor((value % DAY) / HOUR), "hour"],
        [Math.floor((value % HOUR) / 60), "minute"],
        [Math.floor(value % 60), "second"],
      ];
      const first = parts.findIndex(([count]) => count);
      const told = parts.slice(first < 0 ? 3 : first).slice(0, 2);
      return told.map(([count, unit]) => write(count, unit, 0)).join(" ");
    },
    /** Unix seconds, or ISO 8601. */
    when: (value) => times.format(new Date(typeof value === "number" ? 1000 * value : value)),
    clock: (iso) => clock.format(new Date(iso)),
    language: (code) => languages.of(code) ?? code,
  };
}
