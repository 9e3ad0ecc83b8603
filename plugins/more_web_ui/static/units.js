// Figures and times as people of a language write them.

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte"];
const HOUR = 3600;
const DAY = 86_400;

/** What writes figures in a language. */
export function units(language) {
  const number = (value, digits = 3, how = {}) => new Intl.NumberFormat(language, { maximumFractionDigits: digits, ...how }).format(value);
  const [inPercent, inUnits] = ["percent", "unit"].map((style) => ({ style }));
  const of = (value, unit, digits, unitDisplay = "short") => number(value, digits, { ...inUnits, unit, unitDisplay });
  const brief = { hour: "2-digit", minute: "2-digit" };
  const languages = new Intl.DisplayNames(language, { type: "language" });
  const times = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  const seconds = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
  return {
    number,
    percent: (share) => number(share, 0, inPercent),
    bytes(value) {
      const step = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), BYTES.length - 1);
      return of(value / 1000 ** step, BYTES[step], 1, step ? "short" : "long");
    },
    /** Seconds, to be read at a glance. */
    seconds: (value) => (value < 1 ? of(1000 * value, "millisecond", 0) : of(value, "second", 2)),
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
      return told.map(([count, unit]) => of(count, unit, 0)).join(" ");
    },
    /** Seconds as 4:07 or 1:02:07. */
    clock(value) {
      const all = Math.round(value);
      const [hours, minutes, rest] = [Math.floor(all / HOUR), Math.floor(all / 60) % 60, all % 60];
      const two = (part) => String(part).padStart(2, "0");
      return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
    },
    /** Unix seconds, or ISO 8601: the day and the time. */
    when: (value) => times.format(new Date(typeof value === "number" ? 1000 * value : value)),
    /** Unix seconds: the time of today, else the day with it. */
    moment(unix) {
      const then = new Date(1000 * unix);
      const isToday = then.toDateString() === new Date().toDateString();
      return then.toLocaleString(language, isToday ? brief : { day: "numeric", month: "short", ...brief });
    },
    /** ISO 8601: the time alone, with its seconds. */
    time: (iso) => seconds.format(new Date(iso)),
    language: (code) => languages.of(code) ?? code,
  };
}
