-- What this log is. One row: id, generation, cursor_key, and predecessor_size, predecessor_root, the last checkpoint known of
-- the generation before this one: that of an empty tree where somebody began this one by hand.
select
    i.id, i.generation, i.cursor_key, coalesce(g.predecessor_size, 0) as predecessor_size,
    coalesce(g.predecessor_root, sha256('')) as predecessor_root
from installation i left join generations g on g.generation = i.generation
