// Which question is being changed; one at a time.
class Editing {
  id = $state<string | null>(null);
}

export const editing = new Editing();
