import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

import { compileLinearPattern, type StepBudget } from './linear-pattern.ts';

/**
 * Compiles the schema of an event definition; throws for what Ajv or the linear expressions do not take. Each has an instance
 * of its own, so that schemas of different workspaces cannot refer to one another by `$id`. Formats are annotations.
 */
export function compileDefinition(schema: Readonly<Record<string, unknown>>, budget: StepBudget): ValidateFunction {
  const regExp = (source: string) => {
    const compiled = compileLinearPattern(source, budget);
    if (!compiled.ok) throw new Error(compiled.detail);
    return compiled.pattern;
  };
  // The schema was checked against the metaschema when it was stored; own properties only, so that `required: ["toString"]` means it.
  const options = { strict: false, meta: false, validateSchema: false, validateFormats: false, addUsedSchema: false, ownProperties: true, logger: false } as const;
  // `code` is what Ajv would write into standalone modules, which are not made here.
  return new Ajv2020({ ...options, code: { regExp: Object.assign(regExp, { code: 'undefined' }) } }).compile(schema);
}
