//! A machine for the pickles of weight files. It executes nothing.
//!
//! Our own rather than a crate's: the reader that belongs to Burn brings some fifteen crates for archives this program
//! refuses anyway, and keeps unknown objects where this one must refuse them by name. A pickle is a list of
//! instructions for a stack machine; here the only callables are those that `torch.save` needs for tensors, each of
//! them a value of [`Callable`], and asking for any other is an error. Values live in one list and refer to each other
//! by index, so that neither a cycle nor deep nesting can hurt, and their number is limited.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::stored_tensor::{ElementType, MAX_DIMENSIONS, shown};

/// Most instructions executed: a network of some thousand tensors with optimiser state takes a tenth.
const MAX_INSTRUCTIONS: usize = 1 << 20;

/// Most arguments of a call.
const MAX_ARGUMENTS: usize = 8;

/// A value's place in [`Pickle`].
pub(crate) type Id = u32;

/// What a pickle can be made of here.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    /// Something a weight file may hold and nobody here looks at: None, a float, a dtype.
    Opaque,
    /// An integer or a truth value.
    Integer(i64),
    /// The bytes of a string, or of an integer beyond 64 bits.
    Bytes(&'a [u8]),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Callable(Callable),
    Storage(Storage<'a>),
    Tensor(TensorView<'a>),
    /// A module of TorchScript, once its attributes are known: a dictionary.
    Module(Option<Id>),
}

/// The callables a pickle may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callable {
    Tensor,
    Parameter,
    Dict,
    Size,
    Opaque,
    Storage(ElementType),
    /// The class of a TorchScript module, whose code is never looked at.
    Module,
}

/// The memory of one or more tensors, kept outside the pickle under `key`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) element: ElementType,
    pub(crate) count: usize,
}

/// A tensor as a part of a storage; offset and strides count values.
#[derive(Clone, Debug)]
pub(crate) struct TensorView<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// An unpickled object and everything it refers to.
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The object itself.
    pub(crate) root: Id,
    /// Bytes the pickle took.
    pub(crate) length: usize,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when it is damaged or asks for a callable that is not data of a
    /// weight file, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for an instruction that weight files do
    /// not use, [`ErrorKind::Limit`](crate::ErrorKind::Limit) when it is too long.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = Machine {
            bytes,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: MAX_INSTRUCTIONS,
        };
        loop {
            machine.spend(1)?;
            if let Some(root) = machine.step()? {
                return Ok(Self { values: machine.values, root, length: machine.at });
            }
        }
    }

    /// The value with number `id`.
    pub(crate) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// Every storage the pickle refers to.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack that MARK set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Instructions left.
    budget: usize,
}

impl<'a> Machine<'a> {
    /// Executes one instruction; the last one gives the object.
    fn step(&mut self) -> Result<Option<Id>> {
        match self.byte()? {
            // PROTO and FRAME say nothing this reader needs.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'N' => self.push(Value::Opaque),
            0x88 => self.push(Value::Integer(1)),
            0x89 => self.push(Value::Integer(0)),
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Integer(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Integer(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(number.into()));
            }
            0x8a => {
                let size = self.byte()?;
                self.long(size.into())?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Opaque);
            }

            b'X' => {
                let size = self.size4()?;
                self.text(size)?;
            }
            0x8c => {
                let size = self.byte()?;
                self.text(size.into())?;
            }
            b'T' | b'B' => {
                let size = self.size4()?;
                self.string(size)?;
            }
            b'U' | b'C' => {
                let size = self.byte()?;
                self.string(size.into())?;
            }

            b')' => self.push(Value::Tuple(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }

            b'q' => {
                let slot = self.byte()?;
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.remember(slot)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let slot = self.byte()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.recall(slot)?;
            }

            // GLOBAL, and INST, which would also call it.
            b'c' | b'i' => {
                let module = self.line()?;
                let name = self.line()?;
                self.push(Value::Callable(callable(module, name)?));
            }
            0x93 => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                self.push(Value::Callable(callable(module, name)?));
            }
            b'R' => self.call()?,
            0x81 => {
                self.pop_arguments()?;
                let class = self.pop()?;
                if !matches!(self.value(class), Value::Callable(Callable::Module)) {
                    return Err(Error::input(
                        "pickle makes an object of a class that is no part of a weight file",
                    ));
                }
                self.push(Value::Module(None));
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                match &mut self.values[object as usize] {
                    Value::Module(attributes) => *attributes = Some(state),
                    // The state of an OrderedDict: its metadata, which say nothing about tensors.
                    Value::Dict(_) => {}
                    _ => return Err(Error::input("pickle sets the state of something that has none")),
                }
            }
            b'Q' => self.storage()?,
            other => {
                return Err(Error::unsupported(format!(
                    "pickle instruction {other:#04x}, which weight files do not use"
                )));
            }
        }
        Ok(None)
    }

    fn spend(&mut self, instructions: usize) -> Result<()> {
        self.budget = self
            .budget
            .checked_sub(instructions)
            .ok_or_else(|| Error::limit(format!("pickle of more than {MAX_INSTRUCTIONS} instructions")))?;
        Ok(())
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    fn push(&mut self, value: Value<'a>) {
        // The limit on instructions keeps the number of values far below 2^32.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    /// What lies above the last mark is out of reach until the mark is taken.
    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(empty_stack());
        }
        self.stack.pop().ok_or_else(empty_stack)
    }

    fn top(&self) -> Result<Id> {
        self.stack.last().copied().ok_or_else(empty_stack)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(empty_stack)?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_text(&mut self) -> Result<&'a str> {
        let id = self.pop()?;
        match self.value(id) {
            Value::Text(text) => Ok(text),
            _ => Err(Error::input("pickle names a callable by something that is no text")),
        }
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(size).ok_or_else(truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE]> {
        self.take(SIZE)?.first_chunk().copied().ok_or_else(truncated)
    }

    fn size4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// Bytes up to the end of the line.
    fn line(&mut self) -> Result<&'a str> {
        const LONGEST: usize = 1 << 10;
        let rest = &self.bytes[self.at..];
        let size = rest.iter().take(LONGEST).position(|&byte| byte == b'\n').ok_or_else(truncated)?;
        let line = utf8(self.take(size)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn text(&mut self, size: usize) -> Result<()> {
        let text = utf8(self.take(size)?)?;
        self.push(Value::Text(text));
        Ok(())
    }

    /// A string of Python 2, text where it can be, or bytes.
    fn string(&mut self, size: usize) -> Result<()> {
        let bytes = self.take(size)?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text));
        Ok(())
    }

    /// A little-endian two's complement integer.
    fn long(&mut self, size: usize) -> Result<()> {
        let bytes = self.take(size)?;
        if size > 8 {
            self.push(Value::Bytes(bytes));
            return Ok(());
        }
        let fill = if bytes.last().is_some_and(|byte| byte >> 7 == 1) { 0xff } else { 0 };
        let mut number = [fill; 8];
        number[..size].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(number)));
        Ok(())
    }

    fn tuple(&mut self, size: usize) -> Result<()> {
        let mut items = (0..size).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(list) => list.extend_from_slice(items),
            _ => return Err(Error::input("pickle appends to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let dict = self.top()?;
        match (&mut self.values[dict as usize], items.as_chunks::<2>()) {
            (Value::Dict(dict), (pairs, [])) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err(Error::input("pickle sets items of something that is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<()> {
        let id = *self.memo.get(&slot).ok_or_else(|| Error::input("pickle recalls what it never stored"))?;
        self.stack.push(id);
        Ok(())
    }

    fn pop_arguments(&mut self) -> Result<Vec<Id>> {
        let id = self.pop()?;
        match self.value(id) {
            Value::Tuple(items) if items.len() <= MAX_ARGUMENTS => Ok(items.clone()),
            _ => {
                Err(Error::input(format!("pickle calls with no tuple of at most {MAX_ARGUMENTS} arguments")))
            }
        }
    }

    /// REDUCE: what calling one of the known callables gives.
    fn call(&mut self) -> Result<()> {
        let arguments = self.pop_arguments()?;
        let called = self.pop()?;
        let Value::Callable(called) = *self.value(called) else {
            return Err(Error::input("pickle calls something that cannot be called"));
        };
        match (called, arguments.as_slice()) {
            (Callable::Opaque, _) => self.push(Value::Opaque),
            (Callable::Dict, []) => self.push(Value::Dict(Vec::new())),
            (Callable::Dict, [pairs]) => {
                let pairs = self.pairs(*pairs)?;
                self.spend(pairs.len())?;
                self.push(Value::Dict(pairs));
            }
            // A parameter is its tensor and a size its tuple.
            (Callable::Size | Callable::Parameter, [inner, ..]) => self.stack.push(*inner),
            (Callable::Tensor, [storage, offset, shape, strides, ..]) => {
                let tensor = self.tensor(*storage, *offset, *shape, *strides)?;
                self.push(Value::Tensor(tensor));
            }
            _ => {
                return Err(Error::input(format!(
                    "pickle calls {called:?} with {} arguments",
                    arguments.len()
                )));
            }
        }
        Ok(())
    }

    /// A list of pairs, as old versions write an OrderedDict.
    fn pairs(&self, list: Id) -> Result<Vec<(Id, Id)>> {
        let no_pairs = || Error::input("pickle makes a dictionary of something that is no list of pairs");
        let (Value::List(list) | Value::Tuple(list)) = self.value(list) else { return Err(no_pairs()) };
        let pair = |id: &Id| match self.value(*id) {
            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(no_pairs()),
        };
        list.iter().map(pair).collect()
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<TensorView<'a>> {
        let &Value::Storage(storage) = self.value(storage) else {
            return Err(Error::input("pickle makes a tensor without a storage"));
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(Error::input(format!("pickled tensor of shape {shape:?} and strides {strides:?}")));
        }
        Ok(TensorView { storage, offset: self.size(offset)?, shape, strides })
    }

    fn size(&self, id: Id) -> Result<usize> {
        match self.value(id) {
            Value::Integer(number) => usize::try_from(*number)
                .map_err(|error| Error::input(format!("pickled size of {number}")).with_source(error)),
            _ => Err(Error::input("pickled size that is no number")),
        }
    }

    fn sizes(&self, tuple: Id) -> Result<Vec<usize>> {
        match self.value(tuple) {
            Value::Tuple(sizes) if sizes.len() <= MAX_DIMENSIONS => {
                sizes.iter().map(|&id| self.size(id)).collect()
            }
            _ => {
                Err(Error::input(format!("pickled shape that is no tuple of at most {MAX_DIMENSIONS} sizes")))
            }
        }
    }

    /// BINPERSID: ("storage", type, key, device, number of values).
    fn storage(&mut self) -> Result<()> {
        let arguments = self.pop_arguments()?;
        let parts: Vec<_> = arguments.iter().map(|&id| self.value(id)).collect();
        let storage = match parts.as_slice() {
            [Value::Text("storage"), Value::Callable(Callable::Storage(element)), Value::Text(key), _, _]
            | [
                Value::Text("storage"),
                Value::Callable(Callable::Storage(element)),
                Value::Text(key),
                _,
                _,
                Value::Opaque,
            ] => Storage { key, element: *element, count: self.size(arguments[4])? },
            _ => return Err(Error::input("pickle refers to something outside it that is no storage")),
        };
        self.push(Value::Storage(storage));
        Ok(())
    }
}

/// The callable `module.name`, if a weight file may ask for it.
fn callable(module: &str, name: &str) -> Result<Callable> {
    const DTYPES: [&str; 13] = [
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
        "double", "float", "half",
    ];
    Ok(match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Callable::Tensor,
        ("torch._utils", "_rebuild_parameter") => Callable::Parameter,
        ("collections", "OrderedDict") => Callable::Dict,
        ("torch", "Size") => Callable::Size,
        ("torch", "device") => Callable::Opaque,
        ("torch", dtype) if DTYPES.contains(&dtype) => Callable::Opaque,
        ("torch", "DoubleStorage") => Callable::Storage(ElementType::F64),
        ("torch", "FloatStorage") => Callable::Storage(ElementType::F32),
        ("torch", "HalfStorage") => Callable::Storage(ElementType::F16),
        ("torch", "BFloat16Storage") => Callable::Storage(ElementType::Bf16),
        ("torch", "LongStorage") => Callable::Storage(ElementType::I64),
        ("torch", "IntStorage") => Callable::Storage(ElementType::I32),
        ("torch", "ShortStorage") => Callable::Storage(ElementType::I16),
        ("torch", "CharStorage") => Callable::Storage(ElementType::I8),
        ("torch", "ByteStorage") => Callable::Storage(ElementType::U8),
        ("torch", "BoolStorage") => Callable::Storage(ElementType::Bool),
        (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "restore_type_tag",
        ) => Callable::Opaque,
        (script, _) if script == "__torch__" || script.starts_with("__torch__.") => Callable::Module,
        _ => {
            return Err(Error::input(format!(
                "pickle asks for {}.{}, which is no part of a weight file",
                shown(module),
                shown(name)
            ))
            .with_hint(
                "nothing was executed; if you trust the file, save its tensors alone as safetensors",
            ));
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Error::input("pickled text that is not UTF-8").with_source(error))
}

fn truncated() -> Error {
    Error::input("truncated pickle")
}

fn empty_stack() -> Error {
    Error::input("damaged pickle: its stack is empty")
}
