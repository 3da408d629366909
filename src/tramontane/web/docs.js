// A readable form of /openapi.json. Whatever comes from the server is set as text, never as HTML.
"use strict";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function resolve(schema, all) {
  return schema && schema.$ref ? all[schema.$ref.split("/").pop()] : schema;
}

function kind(schema, all) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => kind(one, all)).filter((one) => one !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items, all)}`;
  return schema.title && schema.type === "object" ? schema.title : schema.type || "anything";
}

function fields(schema, all) {
  const list = element("ul");
  for (const [name, field] of Object.entries(schema.properties || {})) {
    const item = element("li");
    item.append(element("code", name));
    const required = (schema.required || []).includes(name) ? ", required" : "";
    item.append(` ${kind(field, all)}${required}`);
    if (field.description) item.append(element("span", ` — ${field.description}`, "soft"));
    list.append(item);
  }
  return list;
}

function route(path, method, operation, all) {
  const box = element("details", undefined, "route");
  const head = element("summary");
  head.append(element("span", method.toUpperCase(), "method"), element("code", path), element("span", operation.summary, "soft"));
  const inside = element("div", undefined, "inside");
  if (operation.description) inside.append(element("p", operation.description));
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) {
    const schema = resolve(body.schema, all);
    inside.append(element("h3", "Body"));
    inside.append(fields(schema, all));
  }
  inside.append(element("h3", "Answers"));
  const answers = element("ul");
  for (const [status, answer] of Object.entries(operation.responses)) {
    const item = element("li");
    item.append(element("code", status), ` ${answer.description}`);
    answers.append(item);
  }
  inside.append(answers);
  box.append(head, inside);
  return box;
}

async function load() {
  const place = document.getElementById("main");
  const reply = await fetch("/openapi.json");
  if (!reply.ok) {
    const problem = document.getElementById("problem");
    problem.textContent = reply.status === 401
      ? "Sign in first: open the link that the server printed when it started."
      : `The server answered with an error (${reply.status}).`;
    problem.hidden = false;
    return;
  }
  const description = await reply.json();
  place.append(element("p", description.info.description));
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      place.append(route(path, method, operation, description.components.schemas));
    }
  }
}

load();
