//! The module as a whole: types, maps, variables, and the way from the object
//! to a handle.

use super::{Emit, doc, indent, literal, types};
use crate::names::ident;
use crate::object::Program;
use crate::plan::{Plan, SectionPlan};

/// What else the module needs to know.
pub(crate) struct Module<'a> {
    /// What was compiled, for the first line.
    pub(crate) from: &'a str,
    /// The name that libbpf gives the object.
    pub(crate) name: &'a str,
    /// The object, beside the module.
    pub(crate) object: &'a str,
    /// The skeleton beside the module, or why there is none.
    pub(crate) skeleton: Result<&'a str, &'a str>,
    pub(crate) programs: &'a [Program],
}

impl Emit<'_> {
    /// The source of the module.
    pub(crate) fn module(&self, plan: &Plan, module: &Module<'_>) -> String {
        let mut body = String::new();
        let events: String = plan
            .maps
            .iter()
            .filter_map(|map| map.handle.events())
            .fold(String::new(), |out, events| out + &self.events(events));
        body.push_str(&format!(
            "/// The compiled object.\npub static OBJECT: &[u8] = ::core::include_bytes!({});\n\n",
            literal(module.object)
        ));
        body.push_str(&format!(
            "/// The types that the maps hold, under the names they have in C.\npub mod types {{\n{}}}\n\n\
             pub use self::types::*;\n\n",
            indent((types(self) + &events).trim_end())
        ));
        for section in &plan.sections {
            body.push_str(&self.section(section));
        }
        body.push_str(&self.maps(&plan.maps));
        body.push_str(&self.open_struct(plan, module));
        body.push_str(&self.loaded_struct(plan));
        body.push_str(&self.handle_struct(plan));
        body.push_str(&self.programs(module.programs));
        body.push_str(&match module.skeleton {
            Ok(file) => format!(
                "/// The skeleton of libbpf-cargo, for code that was written for one.\n\
                 ///\n/// In a crate that forbids `unsafe` code, leave it out with `skeleton(false)`.\n\
                 #[allow(unsafe_code, unsafe_op_in_unsafe_fn, missing_docs, missing_debug_implementations)]\n\
                 pub mod skel {{\n    use {}::__private::libbpf_rs;\n\n    ::core::include!({});\n}}\n",
                self.krate(),
                literal(file)
            ),
            Err(why) => format!("// There is no skeleton of libbpf-cargo here: {why}.\n"),
        });
        format!(
            "// Written by bpf-atlas-build from {}. Do not edit.\n\n\
             #[allow(unused_imports)]\npub use self::generated::*;\n\n\
             #[allow(\n    unused,\n    nonstandard_style,\n    unused_qualifications,\n    \
             unreachable_pub,\n    missing_copy_implementations,\n    single_use_lifetimes,\n    \
             trivial_casts,\n    trivial_numeric_casts,\n    unused_results,\n    clippy::all,\n    \
             clippy::pedantic,\n    clippy::nursery,\n    clippy::restriction\n)]\n\
             #[rustfmt::skip]\nmod generated {{\n{}}}\n",
            module.from,
            indent(body.trim_end())
        )
    }

    fn section_fields<'a>(
        sections: impl IntoIterator<Item = &'a SectionPlan>,
        what: impl Fn(&SectionPlan) -> String,
    ) -> String {
        sections.into_iter().map(what).collect()
    }

    fn open_struct(&self, plan: &Plan, module: &Module<'_>) -> String {
        let krate = self.krate();
        let error = format!("{krate}::ObjectError");
        let result = |ok: &str| format!("::core::result::Result<{ok}, {error}>");
        // What the kernel's configuration gives cannot be set.
        let set: Vec<_> = plan.sections.iter().filter(|section| !section.external).collect();
        let fields = Self::section_fields(set.iter().copied(), |section| {
            let text = match section.name.starts_with(".rodata") {
                true => format!("`{}`: constant once the object is loaded.", section.name),
                false => format!("`{}`: the values to begin with.", section.name),
            };
            format!("{}pub {}: ::std::boxed::Box<{}>,\n", doc(&text), section.field, section.rust)
        });
        let values = Self::section_fields(set.iter().copied(), |section| {
            format!("{}: object.section({})?,\n", section.field, literal(&section.name))
        });
        let mut load = String::new();
        for section in &set {
            load.push_str(&format!(
                "object.set_section({}, &*self.{})?;\n",
                literal(&section.name),
                section.field
            ));
        }
        for map in &plan.maps {
            load.push_str(&format!(
                "object.configure_map(&{}, self.maps.{}, root)?;\n",
                self.spec(map),
                map.rust
            ));
        }
        for program in module.programs {
            load.push_str(&format!(
                "object.configure_program({}, &self.progs.{})?;\n",
                literal(&program.name),
                ident(&program.name)
            ));
        }
        let live = Self::section_fields(&plan.sections, |section| {
            if !section.live {
                return String::new();
            }
            format!(
                "{}: Live{}(object.global({})?),\n",
                section.field,
                section.rust,
                literal(&section.name)
            )
        });
        let maps: String = plan
            .maps
            .iter()
            .map(|map| {
                format!(
                    "{}pub {}: {krate}::object::MapConfig,\n",
                    doc(&format!("For map `{}`.", map.def.name)),
                    map.rust
                )
            })
            .collect();
        let progs: String = module
            .programs
            .iter()
            .map(|program| {
                format!(
                    "{}pub {}: {krate}::object::ProgramConfig,\n",
                    doc(&format!("For program `{}`, section `{}`.", program.name, program.section)),
                    ident(&program.name)
                )
            })
            .collect();
        format!(
            "/// Opens the object: nothing is in the kernel yet.\n///\n/// # Errors\n/// Where libbpf \
             cannot read it.\npub fn open() -> {open} {{\n    let mut object = \
             {krate}::object::OpenedObject::open({name}, OBJECT)?;\n    \
             ::core::result::Result::Ok(Open {{\n{values}        maps: \
             ::core::default::Default::default(),\n        progs: \
             ::core::default::Default::default(),\n        pin_root: ::core::option::Option::None,\n        \
             require_proof: false,\n        object,\n    }})\n}}\n\n\
             /// The object before it is loaded: set what is to be otherwise than the source says.\n\
             #[derive(Debug)]\npub struct Open {{\n{fields}    /// What is asked of maps.\n    pub maps: \
             OpenMaps,\n    /// What is asked of programs.\n    pub progs: OpenProgs,\n    pin_root: \
             ::core::option::Option<::std::path::PathBuf>,\n    require_proof: bool,\n    object: \
             {krate}::object::OpenedObject,\n}}\n\n\
             /// What is asked of each map.\n#[derive(Debug, Default)]\npub struct OpenMaps \
             {{\n{maps}}}\n\n\
             /// What is asked of each program.\n#[derive(Debug, Default)]\npub struct OpenProgs \
             {{\n{progs}}}\n\n\
             impl OpenProgs {{\n    /// What is asked of each program, by its name.\n    pub fn iter_mut(\n        \
             &mut self,\n    ) -> impl ::core::iter::Iterator<Item = (&'static str, &mut \
             {krate}::object::ProgramConfig)> {{\n        let programs: [(_, _); {count}] = \
             [{all}];\n        ::core::iter::IntoIterator::into_iter(programs)\n    }}\n}}\n\n\
             impl Open {{\n    /// The same, after `f`.\n    pub fn configure(mut self, f: impl \
             ::core::ops::FnOnce(&mut Self)) -> Self {{\n        f(&mut self);\n        self\n    }}\n\n    \
             /// Where maps are pinned that the source pins by their name, instead of \
             `/sys/fs/bpf`.\n    pub fn set_pin_root(&mut self, path: impl \
             ::core::convert::Into<::std::path::PathBuf>) -> &mut Self {{\n        self.pin_root = \
             ::core::option::Option::Some(path.into());\n        self\n    }}\n\n    \
             /// Has [`load`](Self::load) refuse a typed map of which sizes are all that could be \
             compared. Without\n    /// `CAP_SYS_ADMIN` the kernel tells no types of a map that was \
             pinned by another process, and a\n    /// field that moved since would go unnoticed.\n    \
             ///\n    /// Nothing is asked of maps that C declares by `key_size` and `value_size` alone, \
             of rings and of\n    /// untyped maps: no types of theirs are in the kernel.\n    pub fn \
             require_proof(&mut self) -> &mut Self {{\n        self.require_proof = true;\n        \
             self.object.require_proof();\n        self\n    }}\n\n    \
             /// The object in libbpf-rs, for what has no method here.\n    pub fn libbpf_mut(&mut self) \
             -> &mut {krate}::__private::libbpf_rs::OpenObject {{\n        self.object.libbpf_mut()\n    \
             }}\n\n    /// Creates the maps and loads the programs. Nothing runs yet.\n    ///\n    \
             /// # Errors\n    /// Where the kernel refuses, with the verifier's log; where a pinned map \
             is not of the types\n    /// declared here, with all differences.\n    pub fn load(self) -> \
             {loaded} {{\n        let mut object = self.object;\n        let root = \
             self.pin_root.as_deref();\n{load}        let object = object.load()?;\n        \
             let mut maps = Maps::of(object.maps())?;\n        if self.require_proof {{\n            \
             maps = maps.require_proof()?;\n        }}\n        \
             ::core::result::Result::Ok(Loaded {{\n            maps,\n{live}            \
             object,\n        }})\n    }}\n}}\n\n",
            count = module.programs.len(),
            all = module
                .programs
                .iter()
                .map(|program| {
                    format!("({}, &mut self.{})", literal(&program.name), ident(&program.name))
                })
                .collect::<Vec<_>>()
                .join(", "),
            open = result("Open"),
            loaded = result("Loaded"),
            name = literal(module.name),
            values = indent(&indent(&values)),
            fields = indent(&fields),
            maps = indent(&maps),
            progs = indent(&progs),
            load = indent(&indent(&load)),
            live = indent(&indent(&indent(&live))),
        )
    }

    fn live_fields(sections: &[SectionPlan]) -> String {
        let fields = Self::section_fields(sections, |section| {
            if !section.live {
                return String::new();
            }
            let text = doc(&format!("The variables of `{}`.", section.name));
            format!("{text}pub {}: Live{},\n", section.field, section.rust)
        });
        indent(&fields)
    }

    fn loaded_struct(&self, plan: &Plan) -> String {
        let krate = self.krate();
        let moved = Self::section_fields(&plan.sections, |section| match section.live {
            true => format!("{0}: self.{0},\n", section.field),
            false => String::new(),
        });
        format!(
            "/// The object in the kernel, and nothing attached yet.\n#[derive(Debug)]\npub struct Loaded \
             {{\n    /// The maps.\n    pub maps: Maps,\n{fields}    object: \
             {krate}::object::LoadedObject,\n}}\n\n\
             impl Loaded {{\n{progs}    /// Attaches the programs whose section says where to, but for \
             those that are attached\n    /// already or have `set_autoattach(false)`.\n    ///\n    \
             /// # Errors\n    /// For the first that the kernel refuses; then nothing stays attached.\n    \
             pub fn attach(mut self) -> ::core::result::Result<Handle, {krate}::ObjectError> {{\n        \
             self.object.attach_all()?;\n        ::core::result::Result::Ok(self.into_handle())\n    }}\n\n    \
             /// The handle, with what is attached now.\n    pub fn into_handle(self) -> Handle {{\n        \
             Handle {{\n            maps: self.maps,\n{moved}            object: self.object,\n        }}\n    \
             }}\n}}\n\n",
            fields = Self::live_fields(&plan.sections),
            moved = indent(&indent(&indent(&moved))),
            progs = self.object_methods(),
        )
    }

    fn handle_struct(&self, plan: &Plan) -> String {
        let krate = self.krate();
        format!(
            "/// The programs at work: `'static` and `Send`. Dropping it detaches them; maps that were \
             taken\n/// out live on.\n#[derive(Debug)]\npub struct Handle {{\n    /// The maps.\n    pub \
             maps: Maps,\n{fields}    object: {krate}::object::LoadedObject,\n}}\n\n\
             impl Handle {{\n{progs}    /// The maps, and what keeps the programs attached: for a struct that has \
             a use for one map\n    /// only, or wants a ring by value.\n    pub fn into_parts(self) -> \
             (Maps, {krate}::object::LoadedObject) {{\n        (self.maps, self.object)\n    \
             }}\n}}\n\n",
            fields = Self::live_fields(&plan.sections),
            progs = self.object_methods(),
        )
    }

    /// What `Loaded` and `Handle` have in common.
    fn object_methods(&self) -> String {
        let krate = self.krate();
        format!(
            "    /// The programs, to attach one by one.\n    pub fn progs(&mut self) -> Progs<'_> {{\n        \
             Progs(&mut self.object)\n    }}\n\n    /// The object: what is attached, and libbpf-rs's own.\n    \
             pub fn object(&self) -> &{krate}::object::LoadedObject {{\n        &self.object\n    }}\n\n    \
             /// As [`object`](Self::object), to keep links in it.\n    pub fn object_mut(&mut self) -> &mut \
             {krate}::object::LoadedObject {{\n        &mut self.object\n    }}\n\n"
        )
    }

    fn programs(&self, programs: &[Program]) -> String {
        let krate = self.krate();
        let methods: String = programs
            .iter()
            .map(|program| {
                let text = format!("Program `{}`, section `{}`.", program.name, program.section);
                format!(
                    "{}pub fn {}(self) -> {krate}::object::Program<'a> {{\n    self.0.program({})\n}}\n\n",
                    doc(&text),
                    ident(&program.name),
                    literal(&program.name)
                )
            })
            .collect();
        format!(
            "/// The programs by their names.\n#[derive(Debug)]\npub struct Progs<'a>(&'a mut \
             {krate}::object::LoadedObject);\n\nimpl<'a> Progs<'a> {{\n{}}}\n\n",
            indent(methods.trim_end())
        )
    }
}
