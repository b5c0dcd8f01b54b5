/** Settles as `outcome` does, or rejects with `late()` when that takes longer than `timeoutMs`. */
export function within<Value>(outcome: Promise<Value>, { timeoutMs, late }: { readonly timeoutMs: number; readonly late: () => Error }): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), timeoutMs);
    outcome.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
