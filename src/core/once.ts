/** @file Values that are made once for as long as an object lives. */

/** A function that makes its value once for each key; one whose making failed is made again when it is asked for. */
export function oncePer<K extends object, V>(make: (key: K) => Promise<V>): (key: K) => Promise<V> {
  const known = new WeakMap<K, Promise<V>>();
  return (key) => {
    const held = known.get(key);
    if (held !== undefined) return held;
    const made = make(key);
    known.set(key, made);
    made.catch(() => known.delete(key));
    return made;
  };
}
