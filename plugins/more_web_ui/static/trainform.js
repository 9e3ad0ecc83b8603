// What a training is asked for with.

import { attempt, field, h, problemBox, select } from "./dom.js";

/**
 * Ask how to train on a dataset, and begin it.
 * @param {any} app
 * @param {string} dataset
 * @returns {Promise<any>}  The job; null: it was left.
 */
export async function askTraining(app, dataset) {
  const { api, t } = app;
  const { data } = await api.get("/v1/admin/models");
  const serving = data.find((one) => one.serving)?.id ?? "";
  const number = (least, most, step) => h("input", { type: "number", min: least, max: most, step });
  const model = select(data.map(({ id }) => [id, id]), serving);
  const name = h("input", { autocomplete: "off", spellcheck: "false", placeholder: dataset });
  const recipe = { epochs: number(1, 10000, 1), batch_size: number(1, 1024, 1), learning_rate: number(0, 1, "any") };
  const evaluate = h("input", { type: "checkbox" });
  const load = h("input", { type: "checkbox", checked: true });
  const wait = h("p", { class: "note", role: "status", hidden: true }, t("jobs.train.checking"));
  const content = h("div", { class: "stack" }, [
    h("div", { class: "columns" }, [
      field({ param: "model", label: t("jobs.train.model"), control: model }),
      field({ param: "name", label: t("jobs.train.name"), hint: t("jobs.data.nameHint"), control: name }),
      field({ param: "recipe.epochs", label: t("jobs.train.epochs"), hint: t("jobs.train.epochsHint"), control: recipe.epochs }),
      field({ param: "recipe.batch_size", label: t("jobs.train.batch"), control: recipe.batch_size }),
      field({ param: "recipe.learning_rate", label: t("jobs.train.rate"), control: recipe.learning_rate }),
    ]),
    field({ param: "evaluate", label: t("jobs.train.evaluate"), control: evaluate }),
    field({ param: "load", label: t("jobs.train.load"), control: load }),
    problemBox(),
    wait,
  ]);
  let job = null;

  /** The server looks at the dataset and the model first, for some seconds. */
  async function begin() {
    wait.hidden = false;
    const filled = Object.entries(recipe).filter(([, { value }]) => value !== "");
    const settings = Object.fromEntries(filled.map(([setting, { value }]) => [setting, Number(value)]));
    const more = { recipe: settings, evaluate: evaluate.checked, load: load.checked };
    const isBegun = await attempt(content, async () => {
      job = await api.json("POST", "/v1/jobs", { kind: "train", dataset, model: model.value, name: name.value.trim(), ...more });
    });
    wait.hidden = true;
    return isBegun;
  }
  await app.dialog(t("jobs.train.title", { dataset }), content, [
    { value: "", text: t("common.cancel"), class: "quiet" },
    { value: "start", text: t("jobs.train.start"), class: "primary", check: begin },
  ]);
  return job;
}
