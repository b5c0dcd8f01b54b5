/*
 * Regular expressions of event definitions run over what anybody sends, in the one thread that serves everybody, so they must
 * not backtrack: `^(a|a)*$` takes V8 3 s over 26 characters and twice that over 27. Here all ways through an expression
 * are followed at once (Thompson 1968, as in RE2): time is characters × steps of the program, whatever the expression. The
 * language is JavaScript's with the flag `u`, less what is not regular: look-around and back references. What one
 * character may be (`\d`, `[a-z]`, `\p{L}`) is left to the engine's own.
 */

/** What `pattern` may cost together in one check of an event. */
export interface StepBudget {
  steps: number;
}

/** Thrown by `test` when a budget is used up. */
export class StepsExceeded extends Error {
  override readonly name = 'StepsExceeded';
}

type Matches = (codePoint: number) => boolean;
type Assertion = '^' | '$' | '\\b' | '\\B';
type Term =
  | { readonly type: 'character'; readonly matches: Matches }
  | { readonly type: 'assertion'; readonly assertion: Assertion }
  | { readonly type: 'sequence' | 'choice'; readonly terms: readonly Term[] }
  | { readonly type: 'repeat'; readonly term: Term; readonly min: number; readonly max: number };
type Step =
  | { readonly type: 'character'; readonly matches: Matches }
  | { readonly type: 'assertion'; readonly assertion: Assertion }
  | { readonly type: 'fork'; readonly ways: readonly number[] }
  | { readonly type: 'found' };

const SOURCE_MAX_CHARACTERS = 1_000;
/** `[a-z]{1,500}` is one of 1,000. */
const STEPS_MAX = 2_000;
const END = -1;

export type LinearPatternResult = { readonly ok: true; readonly pattern: LinearPattern } | { readonly ok: false; readonly detail: string };

/** Compiles an expression, or says why it cannot be had. */
export function compileLinearPattern(source: string, budget: StepBudget = { steps: Infinity }): LinearPatternResult {
  if (source.length > SOURCE_MAX_CHARACTERS) return { ok: false, detail: `a regular expression of more than ${SOURCE_MAX_CHARACTERS} characters` };
  try {
    new RegExp(source, 'u');
  } catch {
    return { ok: false, detail: 'no regular expression of JavaScript with the flag u' };
  }
  const term = new Parser(source).parse();
  if (term === undefined) return { ok: false, detail: 'a regular expression with look-around or a back reference' };
  if (sizeOf(term) > STEPS_MAX) return { ok: false, detail: `a regular expression that repeats too much: ${STEPS_MAX} steps are the most` };
  const program: Step[] = [];
  emit(term, program);
  program.push({ type: 'found' });
  return { ok: true, pattern: new LinearPattern(source, program, budget) };
}

export class LinearPattern {
  readonly #source: string;
  readonly #program: readonly Step[];
  readonly #budget: StepBudget;
  /** By step: the position, counted over all tests, at which it was reached last. */
  readonly #reachedAt: Float64Array;
  #position = 0;

  constructor(source: string, program: readonly Step[], budget: StepBudget) {
    this.#source = source;
    this.#program = program;
    this.#budget = budget;
    this.#reachedAt = new Float64Array(program.length);
  }

  /** Ajv tells patterns apart by it. */
  toString(): string {
    return this.#source;
  }

  /** Whether it matches somewhere in the text. Throws StepsExceeded. */
  test(text: string): boolean {
    let waiting: number[] = [];
    let before = END;
    for (let at = 0; ; ) {
      const next = text.codePointAt(at) ?? END;
      waiting.push(0);
      const reached = this.#reach(waiting, before, next);
      if (reached === 'found') return true;
      if (next === END) return false;
      waiting = [];
      for (const step of reached) if (this.#takes(step, next)) waiting.push(step + 1);
      before = next;
      at += next > 0xffff ? 2 : 1;
    }
  }

  /** The steps that wait for a character, of all that can be reached from those given without one. */
  #reach(from: number[], before: number, next: number): readonly number[] | 'found' {
    this.#position += 1;
    const reached: number[] = [];
    for (let at = from.pop(); at !== undefined; at = from.pop()) {
      if (this.#reachedAt[at] === this.#position) continue;
      this.#reachedAt[at] = this.#position;
      const step = this.#program[at] as Step;
      if (step.type === 'found') return 'found';
      if (step.type === 'character') reached.push(at);
      else if (step.type === 'fork') from.push(...step.ways);
      else if (holds(step.assertion, before, next)) from.push(at + 1);
      this.#budget.steps -= 1;
    }
    if (this.#budget.steps < 0) throw new StepsExceeded();
    return reached;
  }

  #takes(at: number, codePoint: number): boolean {
    const step = this.#program[at] as Step;
    return step.type === 'character' && step.matches(codePoint);
  }
}

/** Reads an expression that the engine's own constructor has found to be one. */
class Parser {
  readonly #source: string;
  #at = 0;
  #isRegular = true;

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Term | undefined {
    const term = this.#choice();
    return this.#isRegular && this.#at === this.#source.length ? term : undefined;
  }

  #choice(): Term {
    const terms = [this.#sequence()];
    while (this.#skip('|')) terms.push(this.#sequence());
    return { type: 'choice', terms };
  }

  #sequence(): Term {
    const terms: Term[] = [];
    while (this.#isRegular && this.#at < this.#source.length && !this.#isNext('|') && !this.#isNext(')')) terms.push(this.#quantified(this.#single()));
    return { type: 'sequence', terms };
  }

  #single(): Term {
    if (this.#skip('(')) return this.#group();
    if (this.#skip('^')) return { type: 'assertion', assertion: '^' };
    if (this.#skip('$')) return { type: 'assertion', assertion: '$' };
    if (this.#skip('\\b')) return { type: 'assertion', assertion: '\\b' };
    if (this.#skip('\\B')) return { type: 'assertion', assertion: '\\B' };
    if (this.#isNext('.')) return this.#character(1);
    if (this.#isNext('[')) return this.#character(this.#classLength());
    if (this.#isNext('\\')) return this.#escape();
    const literal = this.#source.codePointAt(this.#at) ?? END;
    this.#at += literal > 0xffff ? 2 : 1;
    return { type: 'character', matches: (codePoint) => codePoint === literal };
  }

  #group(): Term {
    const opening = /^(?:\?:|\?<[^=!>][^>]*>)/u.exec(this.#source.slice(this.#at))?.[0] ?? '';
    if (opening === '' && this.#isNext('?')) this.#isRegular = false;
    this.#at += opening.length;
    const term = this.#choice();
    this.#skip(')');
    return term;
  }

  #escape(): Term {
    const [escape = ''] = /^\\(?:u\{[^}]*\}|u[dD][89abAB]..\\u[dD][c-fC-F]..|u....|x..|c.|[pP]\{[^}]*\}|[^])/u.exec(this.#source.slice(this.#at)) ?? [];
    if (/^\\[1-9k]/.test(escape)) this.#isRegular = false;
    return this.#character(escape.length);
  }

  #classLength(): number {
    let end = this.#at + 1;
    while (end < this.#source.length && this.#source[end] !== ']') end += this.#source[end] === '\\' ? 2 : 1;
    return end + 1 - this.#at;
  }

  /** Whatever stands for one character, as the engine understands it; asked once only for each of ASCII. */
  #character(length: number): Term {
    const source = this.#source.slice(this.#at, this.#at + length);
    this.#at += length;
    if (!this.#isRegular) return { type: 'sequence', terms: [] };
    const one = new RegExp(`^${source}$`, 'u');
    const ascii = Array.from({ length: 128 }, (_, codePoint) => one.test(String.fromCharCode(codePoint)));
    return { type: 'character', matches: (codePoint) => ascii[codePoint] ?? one.test(String.fromCodePoint(codePoint)) };
  }

  #quantified(term: Term): Term {
    const [quantifier, least, more, most] = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/.exec(this.#source.slice(this.#at)) ?? [];
    if (quantifier === undefined) return term;
    this.#at += quantifier.length;
    if (least !== undefined) return { type: 'repeat', term, min: Number(least), max: more === undefined ? Number(least) : most === '' ? Infinity : Number(most) };
    return { type: 'repeat', term, min: quantifier.startsWith('+') ? 1 : 0, max: quantifier.startsWith('?') ? 1 : Infinity };
  }

  #isNext(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  #skip(text: string): boolean {
    const isNext = this.#isNext(text);
    if (isNext) this.#at += text.length;
    return isNext;
  }
}

/** At least as many steps as `emit` makes, told without making them: a repetition of repetitions can be of any size. */
function sizeOf(term: Term): number {
  switch (term.type) {
    case 'character':
    case 'assertion':
      return 1;
    case 'sequence':
    case 'choice':
      return term.terms.reduce((size, each) => size + sizeOf(each) + 2, 1);
    case 'repeat':
      return (sizeOf(term.term) + 2) * Math.max(1, term.max === Infinity ? term.min + 1 : term.max);
    default:
      return term satisfies never;
  }
}

function emit(term: Term, program: Step[]): void {
  switch (term.type) {
    case 'character':
    case 'assertion':
      program.push(term);
      return;
    case 'sequence':
      for (const each of term.terms) emit(each, program);
      return;
    case 'choice':
      emitChoice(term.terms, program);
      return;
    case 'repeat':
      emitRepeat(term, program);
      return;
    default:
      return term satisfies never;
  }
}

/** fork(a, b) · a · fork(end) · b · fork(end) */
function emitChoice(terms: readonly Term[], program: Step[]): void {
  const ways: number[] = [];
  const end: number[] = [];
  program.push({ type: 'fork', ways });
  for (const each of terms) {
    ways.push(program.length);
    emit(each, program);
    program.push({ type: 'fork', ways: end });
  }
  end.push(program.length);
}

/** The term `min` times; then either as often as one likes (fork(term, end) · term · fork(back)), or each of the rest with a way out. */
function emitRepeat({ term, min, max }: Extract<Term, { type: 'repeat' }>, program: Step[]): void {
  for (let count = 0; count < min; count += 1) emit(term, program);
  if (max === Infinity) {
    const start = program.length;
    const ways = [start + 1];
    program.push({ type: 'fork', ways });
    emit(term, program);
    program.push({ type: 'fork', ways: [start] });
    ways.push(program.length);
    return;
  }
  const forks: number[][] = [];
  for (let count = min; count < max; count += 1) {
    const ways = [program.length + 1];
    forks.push(ways);
    program.push({ type: 'fork', ways });
    emit(term, program);
  }
  for (const ways of forks) ways.push(program.length);
}

function holds(assertion: Assertion, before: number, next: number): boolean {
  switch (assertion) {
    case '^':
      return before === END;
    case '$':
      return next === END;
    case '\\b':
      return isWord(before) !== isWord(next);
    case '\\B':
      return isWord(before) === isWord(next);
    default:
      return assertion satisfies never;
  }
}

function isWord(codePoint: number): boolean {
  return codePoint === 0x5f || (codePoint >= 0x30 && codePoint <= 0x39) || (codePoint >= 0x41 && codePoint <= 0x5a) || (codePoint >= 0x61 && codePoint <= 0x7a);
}
