//! The modules of a crate and what each imports, read from its sources without comments and tests.
#![allow(dead_code)] // Each test program uses a part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What is used from the root of the crate itself counts as a module of this name.
const ROOT: &str = "(root)";

/// Top-level modules of a crate, each with those that it imports.
pub(crate) struct Modules(pub(crate) BTreeMap<String, BTreeSet<String>>);

impl Modules {
    /// Reads the crate whose sources are in a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let root = [folder.join("lib.rs"), folder.join("main.rs")].into_iter().find(|file| file.exists());
        let root = root.expect("lib.rs or main.rs");
        let names = files(folder).iter().filter_map(|file| top(folder, file)).collect();
        let mut crate_ = Crate { exports: BTreeMap::new(), names };
        let root_tokens = without_tests(tokens(&root));
        crate_.exports = crate_.reexports(&root_tokens);
        let mut modules = BTreeMap::new();
        let used: BTreeSet<String> = crate_.used_by_root(&root_tokens);
        modules.insert(ROOT.to_owned(), used);
        for file in files(folder) {
            let Some(module) = top(folder, &file) else { continue };
            let depth = file.strip_prefix(folder).expect("below").components().count()
                - usize::from(file.file_name().is_some_and(|name| name == "mod.rs"));
            let mut used = BTreeSet::new();
            crate_.used(without_tests(tokens(&file)), depth, &mut used);
            used.remove(&module);
            modules.entry(module).or_insert_with(BTreeSet::new).append(&mut used);
        }
        if !modules.values().any(|used| used.contains(ROOT)) {
            modules.remove(ROOT);
        }
        Self(modules)
    }

    /// The shortest way from a module back to itself, if there is one.
    pub(crate) fn circle(&self, start: &str) -> Option<Vec<String>> {
        let mut waiting = VecDeque::from([vec![start.to_owned()]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = waiting.pop_front() {
            for next in self.0.get(way.last().expect("a module")).into_iter().flatten() {
                let longer = || way.iter().cloned().chain([next.clone()]).collect();
                if next == start {
                    return Some(longer());
                }
                if seen.insert(next.clone()) {
                    waiting.push_back(longer());
                }
            }
        }
        None
    }

    /// All modules that take part in a circle.
    pub(crate) fn in_circles(&self) -> Vec<&str> {
        self.0.keys().filter(|name| self.circle(name).is_some()).map(String::as_str).collect()
    }
}

/// What the root of a crate declares.
struct Crate {
    names: BTreeSet<String>,
    /// Names that the root re-exports, with their modules.
    exports: BTreeMap<String, String>,
}

impl Crate {
    /// Adds the modules that these tokens, at this depth of modules, name by `crate::` or `super::`.
    fn used(&self, stream: TokenStream, depth: usize, found: &mut BTreeSet<String>) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let inside = usize::from(at >= 2 && is(&tokens[at - 2], "mod") && braces(group));
                    self.used(group.stream(), depth + inside, found);
                }
                TokenTree::Ident(word) if word == "crate" => self.add(&tokens[at + 1..], found),
                TokenTree::Ident(word) if word == "super" && !(at >= 3 && is(&tokens[at - 3], "super")) => {
                    let supers =
                        tokens[at..].chunks(3).take_while(|chunk| is(&chunk[0], "super") && chunk.len() == 3).count();
                    if supers == depth {
                        self.add(&tokens[at + 3 * supers - 2..], found);
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds what `:: name` or `:: {name, name}` begins with.
    fn add(&self, rest: &[TokenTree], found: &mut BTreeSet<String>) {
        match rest {
            [TokenTree::Punct(_), TokenTree::Punct(_), TokenTree::Ident(name), ..] => {
                found.insert(self.module(&name.to_string()));
            }
            [TokenTree::Punct(_), TokenTree::Punct(_), TokenTree::Group(group), ..] => {
                for name in first_names(group) {
                    found.insert(self.module(&name));
                }
            }
            _ => {}
        }
    }

    /// The module that a name at the root belongs to.
    fn module(&self, name: &str) -> String {
        if self.names.contains(name) {
            return name.to_owned();
        }
        self.exports.get(name).cloned().unwrap_or_else(|| ROOT.to_owned())
    }

    /// The names of each `pub use module::...` of the root.
    fn reexports(&self, root: &TokenStream) -> BTreeMap<String, String> {
        let mut exports = BTreeMap::new();
        for statement in statements(root).iter().filter(|statement| statement.iter().any(|token| is(token, "use"))) {
            let names = words(&statement.iter().cloned().collect());
            if let Some(module) = names.iter().find(|name| self.names.contains(*name)) {
                exports.extend(names.iter().filter(|name| *name != module).map(|name| (name.clone(), module.clone())));
            }
        }
        exports
    }

    /// What the root uses itself, beyond declaring and re-exporting.
    fn used_by_root(&self, root: &TokenStream) -> BTreeSet<String> {
        let is_code = |statement: &&Vec<TokenTree>| !statement.iter().any(|token| is(token, "use") || is(token, "mod"));
        let code = statements(root).iter().filter(is_code).flatten().cloned().collect();
        let modules =
            words(&code).into_iter().filter(|name| self.names.contains(name) || self.exports.contains_key(name));
        modules.map(|name| self.module(&name)).collect()
    }
}

/// The first word of each part of `{a, b::c}`.
fn first_names(group: &Group) -> Vec<String> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let parts = tokens.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','));
    parts.filter_map(|part| part.first()).map(ToString::to_string).collect()
}

/// Tokens up to each `;` or block.
fn statements(stream: &TokenStream) -> Vec<Vec<TokenTree>> {
    let (mut all, mut one) = (Vec::new(), Vec::new());
    for token in stream.clone() {
        let ends = match &token {
            TokenTree::Punct(mark) => mark.as_char() == ';',
            // Not the braces of `use a::{b, c};`.
            TokenTree::Group(group) => braces(group) && !one.iter().any(|token| is(token, "use")),
            _ => false,
        };
        one.push(token);
        if ends {
            all.push(std::mem::take(&mut one));
        }
    }
    all.push(one);
    all
}

/// All words, in order.
fn words(stream: &TokenStream) -> Vec<String> {
    let of = |token: TokenTree| match token {
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Group(group) => words(&group.stream()),
        _ => Vec::new(),
    };
    stream.clone().into_iter().flat_map(of).collect()
}

/// Leaves out every item behind `#[cfg(test)]`.
fn without_tests(stream: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if kept.last().is_some_and(|last| matches!(last, TokenTree::Punct(mark) if mark.as_char() == '#'))
            && is_test(&token)
        {
            kept.pop();
            // An item ends with its block or its semicolon.
            let _ = tokens.by_ref().find(|token| match token {
                TokenTree::Group(group) => braces(group),
                TokenTree::Punct(mark) => mark.as_char() == ';',
                _ => false,
            });
            continue;
        }
        kept.push(token);
    }
    kept.into_iter().collect()
}

fn is_test(token: &TokenTree) -> bool {
    let words = |group: &Group| words(&group.stream());
    matches!(token, TokenTree::Group(group) if words(group).first().is_some_and(|word| word == "cfg")
        && words(group).iter().any(|word| word == "test") && !words(group).iter().any(|word| word == "not"))
}

fn is(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn braces(group: &Group) -> bool {
    group.delimiter() == Delimiter::Brace
}

fn tokens(file: &Path) -> TokenStream {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The top-level module that a file belongs to; none for the roots and for tests.
fn top(folder: &Path, file: &Path) -> Option<String> {
    let below = file.strip_prefix(folder).ok()?;
    let first = below.iter().next()?.to_str()?;
    let is_root = below.iter().count() == 1 && ["lib.rs", "main.rs"].contains(&first);
    (!is_root).then(|| first.trim_end_matches(".rs").to_owned())
}

/// All sources, without files of tests alone.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a source file is written with, without comments and tests.
pub(crate) struct Identifiers {
    pub(crate) names: BTreeSet<String>,
    /// What is between quotes.
    pub(crate) texts: Vec<String>,
}

impl Identifiers {
    pub(crate) fn read(file: &Path) -> Self {
        let mut found = Self { names: BTreeSet::new(), texts: Vec::new() };
        found.add(without_tests(tokens(file)));
        found
    }

    fn add(&mut self, stream: TokenStream) {
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                // A doc comment.
                TokenTree::Ident(word) if word == "doc" => {
                    tokens.next();
                    tokens.next();
                }
                TokenTree::Ident(word) => _ = self.names.insert(word.to_string()),
                TokenTree::Literal(text) => self.texts.extend(quoted(&text.to_string())),
                TokenTree::Group(group) => self.add(group.stream()),
                TokenTree::Punct(_) => {}
            }
        }
    }
}

/// The text of a literal that is one; lines that end with a backslash are joined.
fn quoted(literal: &str) -> Option<String> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let lines: Vec<&str> = text.split("\\\n").collect();
    Some(lines.iter().enumerate().map(|(at, line)| if at > 0 { line.trim_start() } else { line }).collect())
}

/// All sources below a folder, without files of tests alone.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder)
}
