// What of the catalogue is shown. Kept while the page is left for one of its models.
import type { CatalogueModel } from "../../admin";
import { isServedHere } from "../../words";

class Filters {
  query = $state("");
  licence = $state("");
  ability = $state("");
  stage = $state("");
  onlyHere = $state(false);

  get areSet(): boolean {
    return this.query.trim() !== "" || this.licence !== "" || this.ability !== "" || this.stage !== "" || this.onlyHere;
  }

  clear(): void {
    [this.query, this.licence, this.ability, this.stage, this.onlyHere] = ["", "", "", "", false];
  }

  of(models: readonly CatalogueModel[]): CatalogueModel[] {
    const words = this.query.trim().toLowerCase().split(/\s+/);
    return models.filter((model) => {
      const text = [model.name, model.title, model.summary, ...model.aliases].join(" ").toLowerCase();
      return (
        isKnown(model) &&
        words.every((word) => text.includes(word)) &&
        (this.licence === "" || model.licence.allows_production === (this.licence === "production")) &&
        (this.ability === "" || model.abilities.includes(this.ability)) &&
        // Who has not asked for retired models does not look for them.
        (this.stage === "" ? model.lifecycle.stage !== "retired" || isServedHere(model) : model.lifecycle.stage === this.stage) &&
        (!this.onlyHere || isServedHere(model))
      );
    });
  }
}

/** Of the family, or offered: what was offered once and is switched off has only its name left. */
const isKnown = (model: CatalogueModel): boolean => model.summary !== "" || model.offerings.some((offering) => offering.enabled);

export const filters = new Filters();
