CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    id TEXT PRIMARY KEY, split TEXT NOT NULL CHECK (split IN ('fit', 'validation', 'test')),
    position INTEGER NOT NULL, content TEXT NOT NULL, UNIQUE (split, position)) WITHOUT ROWID;
CREATE TABLE searches (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, description TEXT NOT NULL,
    winner INTEGER REFERENCES trials (id)) WITHOUT ROWID;
CREATE TABLE trials (
    id INTEGER PRIMARY KEY, search TEXT NOT NULL REFERENCES searches (name), number INTEGER NOT NULL,
    batch INTEGER NOT NULL, name TEXT, genome TEXT NOT NULL, parents TEXT NOT NULL,
    recipe TEXT NOT NULL, recipe_hash TEXT NOT NULL, asked_at REAL NOT NULL,
    told INTEGER NOT NULL DEFAULT 0, UNIQUE (search, number));
CREATE INDEX trials_by_recipe ON trials (recipe_hash);
CREATE INDEX trials_by_batch ON trials (search, batch);
CREATE TABLE parts (
    trial INTEGER NOT NULL REFERENCES trials (id), split TEXT NOT NULL, part INTEGER NOT NULL,
    n_items INTEGER NOT NULL, failure TEXT, build_seconds REAL NOT NULL, score_seconds REAL NOT NULL,
    ended_at REAL NOT NULL, copied_from INTEGER REFERENCES trials (id),
    PRIMARY KEY (trial, split, part)) WITHOUT ROWID;
CREATE TABLE scores (
    trial INTEGER NOT NULL, split TEXT NOT NULL, part INTEGER NOT NULL,
    item TEXT NOT NULL REFERENCES items (id), score REAL NOT NULL, answer TEXT NOT NULL,
    is_cut INTEGER NOT NULL DEFAULT 0, media TEXT,
    PRIMARY KEY (trial, item), FOREIGN KEY (trial, split, part) REFERENCES parts (trial, split, part)
    ) WITHOUT ROWID;
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY, trial INTEGER NOT NULL UNIQUE REFERENCES trials (id), failure TEXT,
    value REAL, objectives TEXT NOT NULL, is_partial INTEGER NOT NULL);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, started_at REAL NOT NULL, seen_at REAL NOT NULL);
