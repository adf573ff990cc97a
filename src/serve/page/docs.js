// The document of the API as a page. It writes text, never markup.
"use strict";

function make(name, className, ...children) {
  const element = document.createElement(name);
  element.className = className;
  element.append(...children);
  return element;
}

function table(rows) {
  const cells = rows.map(([name, kind, text]) => {
    return make("tr", "", make("td", "", name), make("td", "", kind), make("td", "", text ?? ""));
  });
  return make("table", "", make("tbody", "", ...cells));
}

const kindOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(kindOf).filter((kind) => kind !== "null").join(" or ");
  const kinds = [schema.type].flat().filter((kind) => kind !== "null").join(" or ");
  const choices = schema.enum ? ": " + schema.enum.filter((choice) => choice !== null).join(", ") : "";
  return (kinds === "array" ? "array of " + kindOf(schema.items) : kinds) + choices;
};

function fields(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, field]) => [name, kindOf(field), field.description]);
}

function operation(document_, path, method, { summary, description, parameters = [], requestBody, responses }) {
  const title = make("div", "", make("span", "method", method.toUpperCase()), make("code", "", " " + path));
  const parts = [title, make("div", "note", [summary, description].filter(Boolean).join(". "))];
  if (parameters.length) {
    parts.push(table(parameters.map((it) => [it.name, it.in + ", " + kindOf(it.schema), it.description])));
  }
  const body = requestBody?.content["application/json"]?.schema;
  const named = body?.$ref && document_.components.schemas[kindOf(body)];
  if (named) parts.push(make("div", "note", "The body:"), table(fields(named)));
  parts.push(make("div", "note", "Answers: " + Object.entries(responses).map(([status, answer]) => {
    const content = Object.values(answer.content ?? {})[0];
    return [status, kindOf(content?.schema), answer.description].filter(Boolean).join(" ");
  }).join("; ")));
  return make("div", "path", ...parts);
}

async function show() {
  const document_ = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = document_.info.description;
  // The paths of this project come before those of others.
  const place = ([path]) => path.startsWith("/v1/") ? 0 : path.startsWith("/api/") ? 2 : 1;
  const paths = Object.entries(document_.paths).sort((one, other) => place(one) - place(other));
  const operations = paths.flatMap(([path, methods]) => {
    return Object.entries(methods).map(([method, it]) => operation(document_, path, method, it));
  });
  const schemas = Object.entries(document_.components.schemas).filter(([, schema]) => schema.properties).map(([name, schema]) => {
    return make("div", "path", make("b", "", name), make("div", "note", schema.description ?? ""), table(fields(schema)));
  });
  document.getElementById("paths").replaceChildren(...operations, ...schemas);
}

show().catch((error) => { document.getElementById("paths").textContent = error.message; });
