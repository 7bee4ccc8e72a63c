//! Tensors that are drawn one at a time, written and not kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use wick_files::FileSet;

use super::ahead::ahead;
use super::manifest::{Manifest, ManifestEntry};
use super::shards::{Index, files_of, index_path, parted, paths_of};
use super::{Drawn, Entry, InitMap, Settings, Streamed, same};
use crate::error::Error;
use crate::initializer::plan::Plan;
use crate::rng::RngSource;
use crate::rng::torch::TorchRng;
use crate::rng::values::Kind;
use crate::tensor_file::write::{Layout, fallible, write_tensor};

/// A tensor that is asked for by its full name, shape and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTensor {
    /// The full name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The type: `f64`, `f32`, `bf16` or `f16`.
    pub dtype: DType,
}

impl WantedTensor {
    /// A tensor by its full name, shape and type.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, dtype: DType) -> Self {
        Self { name: name.into(), shape: shape.into(), dtype }
    }

    /// The bytes of the elements.
    fn bytes(&self) -> Result<u64, Error> {
        let sizes = self.shape.iter().copied();
        // Sizes beside a 0 have to be possible, too: tensors have strides.
        let possible =
            sizes.clone().try_fold(self.dtype.size_in_bytes(), |all, size| all.checked_mul(size.max(1)));
        let possible = possible.filter(|bytes| isize::try_from(*bytes).is_ok());
        let too_large = || Error::TooLarge { shape: self.shape.clone() }.of_tensor(&self.name);
        possible.ok_or_else(too_large)?;
        Ok(sizes.product::<usize>() as u64 * self.dtype.size_in_bytes() as u64)
    }
}

/// A tensor and its origin.
struct Planned<'a> {
    wanted: &'a WantedTensor,
    bytes: u64,
    rule: Option<usize>,
    origin: Origin,
}

enum Origin {
    /// The map has it.
    Made(Entry),
    /// A file has it.
    Loaded,
    Drawn {
        drawn: Drawn,
        /// PyTorch's generator before it draws the tensor, if tensors are not drawn in their order.
        state: Option<Box<TorchRng>>,
    },
}

impl InitMap {
    /// Draws tensors one at a time, and calls `each` with each tensor's entry of the manifest. No tensor is kept,
    /// so that the memory is that of the largest one. The tensors have the values that a model would get which
    /// asks for them in this order; a tensor that the map has, or a file of [`with_file`](Self::with_file), is not
    /// drawn.
    ///
    /// ```
    /// use candle_core::DType;
    /// use wick_init::{InitMap, Initializer, WantedTensor};
    ///
    /// let map = InitMap::new(42).with_default_init(Initializer::lecun_normal());
    /// let wanted = [WantedTensor::new("fc.weight", [64, 4], DType::BF16)];
    /// let manifest = map.draw_each(&wanted, |entry| println!("{}", entry.name))?;
    /// assert_eq!(manifest.tensors[0].expected_std, Some(0.5));
    /// assert!(map.vars().is_empty());
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// As a model's request of the tensor. What can be known beforehand is checked for all tensors first.
    pub fn draw_each(
        &self,
        wanted: &[WantedTensor],
        mut each: impl FnMut(&ManifestEntry),
    ) -> Result<Manifest, Error> {
        let map = self.knowing(wanted);
        let planned = map.planned(wanted)?;
        let mut tensors = Vec::new();
        for planned in &planned {
            let entry = map.entry(planned, &map.made(planned)?)?;
            each(&entry);
            tensors.push(entry);
        }
        Ok(map.manifest_of(tensors))
    }

    /// As [`draw_each`](Self::draw_each), and writes the tensors and the [`metadata`](Self::metadata) to a
    /// safetensors file, or to several of at most `shard_size` bytes of tensors each. The bytes are those of
    /// [`save`](Self::save).
    ///
    /// Several files are named as on the hub: `model-00001-of-00003.safetensors` for `model.safetensors`, with the
    /// index `model.safetensors.index.json`, which says what tensor is in which file. A tensor that is larger than
    /// `shard_size` has a file of its own, and if all tensors fit in one file, it has the name of `path` and no
    /// index. All files are written whole beside their places before the first is put there; an earlier failure leaves
    /// none of them, and what was there is as it was. An old index of the same name is then removed first, and the new
    /// one comes last: without an index there is no set. Files of an earlier set that has other names stay
    /// ([`drawn_files`](Self::drawn_files) names the new ones).
    ///
    /// `each` is called with a tensor's name and the bytes written since the last call, some megabytes at a time.
    ///
    /// A generator of `rand`'s cannot be copied: with [`with_rng`](Self::with_rng), all tensors are in memory at
    /// once. PyTorch's generator draws each tensor twice unless they are in the order of the file: a file has its
    /// tensors in the order of their types and names.
    ///
    /// ```
    /// use candle_core::DType;
    /// use wick_init::{InitMap, Initializer, WantedTensor};
    ///
    /// let folder = std::env::temp_dir().join("wick-init-shards");
    /// let wanted = [1, 2, 3].map(|layer| WantedTensor::new(format!("{layer}.weight"), [8, 8], DType::F32));
    /// let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    /// map.save_drawn(folder.join("model.safetensors"), &wanted, Some(512), |_, _| ())?;
    ///
    /// let first = folder.join("model-00001-of-00002.safetensors"); // 256 bytes a tensor
    /// let map = InitMap::new(0).with_file(first)?.with_file(folder.join("model-00002-of-00002.safetensors"))?;
    /// assert_eq!(map.unused_tensors(), ["1.weight", "2.weight", "3.weight"]);
    /// # std::fs::remove_dir_all(folder).ok();
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`draw_each`](Self::draw_each) and [`save`](Self::save).
    pub fn save_drawn(
        &self,
        path: impl AsRef<Path>,
        wanted: &[WantedTensor],
        shard_size: Option<u64>,
        mut each: impl FnMut(&str, u64),
    ) -> Result<Manifest, Error> {
        let (path, map) = (path.as_ref(), self.knowing(wanted));
        let mut planned = map.planned(wanted)?;
        let sizes: Vec<u64> = planned.iter().map(|planned| planned.bytes).collect();
        let shards = parted(&sizes, shard_size);
        let paths = paths_of(path, shards.len());
        fallible(path, |_| wick_files::check_files(&files_of(path, shards.len())))?;
        let describe = |&index: &usize| {
            let WantedTensor { name, shape, dtype } = &wanted[index];
            (name.as_str(), *dtype, shape.as_slice())
        };
        let mut order = Vec::new();
        let mut heads = Vec::new();
        for (shard, path) in shards.iter().zip(&paths) {
            let described: Vec<_> = shard.iter().map(describe).collect();
            let layout = Layout::new(path, &described, map.metadata())?;
            let tensors: Vec<usize> = layout.order.iter().map(|&place| shard[place]).collect();
            heads.push((layout.head, tensors.clone()));
            order.extend(tensors);
        }
        let kept = map.prepare(&mut planned, &order)?;

        let mut set = FileSet::new();
        let mut tensors = Vec::new();
        let draw = |index: usize| {
            let planned = &planned[index];
            let tensor = kept.get(&index).cloned().map_or_else(|| map.made(planned), Ok)?;
            let entry = map.entry(planned, &tensor)?;
            Ok((tensor, entry))
        };
        // Of a keyed stream, the next tensor is drawn while one is written; others take more memory to draw.
        let is_keyed = map.lock_rng().has_keys();
        ahead(&order, is_keyed, draw, |next| {
            for ((head, shard), path) in heads.iter().zip(&paths) {
                fallible(path, |failed| {
                    set.write_with(path, |out| {
                        out.write_all(head)?;
                        for &index in shard {
                            let name = &wanted[index].name;
                            let written = next(index).and_then(|(tensor, entry)| {
                                tensors.push(entry);
                                write_tensor(out, &tensor, |bytes| each(name, bytes))
                            });
                            written.map_err(|error| failed.take(name, error))?;
                        }
                        Ok(())
                    })
                })?;
            }
            Ok::<_, Error>(())
        })?;
        if let [_, _, ..] = paths.as_slice() {
            let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let files = shards.iter().zip(&paths).flat_map(|(shard, path)| {
                shard.iter().map(|&index| (wanted[index].name.as_str(), file_name(path)))
            });
            let index = Index::new(sizes.iter().sum(), files.collect());
            let index_path = index_path(path);
            fallible(&index_path, |_| {
                let text = index.text()?;
                set.write_with(&index_path, |out| out.write_all(text.as_bytes()))
            })?;
        }
        fallible(path, |_| set.put())?;
        Ok(map.manifest_of(tensors))
    }

    /// The files that [`save_drawn`](Self::save_drawn) writes, the index last, for a `path` that is no device.
    ///
    /// ```
    /// use candle_core::DType;
    /// use wick_init::{InitMap, WantedTensor};
    ///
    /// let wanted = ["a", "b"].map(|name| WantedTensor::new(name, [8, 8], DType::F32));
    /// let files = InitMap::drawn_files("m.safetensors", &wanted, Some(256))?;
    /// assert_eq!(files.len(), 3);
    /// assert_eq!(files[1].to_str(), Some("m-00002-of-00002.safetensors"));
    /// assert_eq!(files[2].to_str(), Some("m.safetensors.index.json"));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`], of the tensor whose bytes cannot be counted.
    pub fn drawn_files(
        path: impl AsRef<Path>,
        wanted: &[WantedTensor],
        shard_size: Option<u64>,
    ) -> Result<Vec<PathBuf>, Error> {
        let sizes = wanted.iter().map(WantedTensor::bytes).collect::<Result<Vec<_>, _>>()?;
        Ok(files_of(path.as_ref(), parted(&sizes, shard_size).len()))
    }

    /// An estimate of the bytes of memory that [`draw_each`](Self::draw_each) and
    /// [`save_drawn`](Self::save_drawn) take at most: the largest tensor, the one that is written
    /// meanwhile, and what an initializer works
    /// with, such as the decomposition of an orthogonal weight. It is an `f64`, so that absurd shapes do not
    /// overflow.
    pub fn memory_to_draw(&self, wanted: &[WantedTensor]) -> f64 {
        let map = self.knowing(wanted);
        let rng = map.lock_rng();
        let (is_torch, is_jax, is_keyed) = (rng.is_torch(), rng.jax_key().is_some(), rng.has_keys());
        drop(rng);
        let numbers = |wanted: &WantedTensor| wanted.shape.iter().map(|&size| size as f64).product::<f64>();
        let bytes = |wanted: &WantedTensor| numbers(wanted) * wanted.dtype.size_in_bytes() as f64;
        let beside = |wanted: &WantedTensor| {
            let shape = Shape::from(wanted.shape.as_slice());
            let rule = map.rule(&wanted.name, &shape);
            let Ok(drawn) = map.resolve(rule, &wanted.name, &shape, Init::default()) else { return 0.0 };
            let each = match drawn.initializer.plan(&wanted.shape, map.layout(rule)) {
                // Up to four times the weight in f64.
                Ok(Plan::Structured(_)) => 32.0,
                Ok(Plan::Independent(law)) if is_torch && law.is_cut() => 32.0,
                // Numbers in JAX's order, and in candle's.
                Ok(Plan::Independent(_)) if is_jax => 8.0,
                Ok(Plan::Independent(_)) if !is_keyed && wanted.dtype.size_in_bytes() < 4 => 4.0,
                _ => 0.0,
            };
            each * numbers(wanted)
        };
        let largest = |of: &dyn Fn(&WantedTensor) -> f64| wanted.iter().map(of).fold(0.0, f64::max);
        let drawn = largest(&|wanted| bytes(wanted) + beside(wanted));
        match (is_keyed, is_torch) {
            (true, _) => drawn + largest(&bytes),
            (_, true) => drawn,
            _ => drawn + wanted.iter().map(bytes).sum::<f64>(),
        }
    }

    /// The same map, which also knows the shapes of these tensors.
    fn knowing(&self, wanted: &[WantedTensor]) -> Self {
        let mut settings = Settings::clone(&self.settings);
        settings.shapes.extend(wanted.iter().map(|wanted| (wanted.name.clone(), wanted.shape.clone())));
        Self {
            settings: Arc::new(settings),
            vars: Arc::clone(&self.vars),
            streamed: Arc::clone(&self.streamed),
        }
    }

    /// The origin of each tensor, and an error for what can be known to fail.
    fn planned<'a>(&self, wanted: &'a [WantedTensor]) -> Result<Vec<Planned<'a>>, Error> {
        let mut all = 0u64;
        let planned = wanted.iter().map(|wanted| {
            let planned = self.planned_one(wanted)?;
            let too_large = || Error::TooLarge { shape: wanted.shape.clone() }.of_tensor(&wanted.name);
            all = all
                .checked_add(planned.bytes)
                .filter(|all| i64::try_from(*all).is_ok())
                .ok_or_else(too_large)?;
            Ok(planned)
        });
        planned.collect()
    }

    fn planned_one<'a>(&self, wanted: &'a WantedTensor) -> Result<Planned<'a>, Error> {
        let WantedTensor { name, shape, dtype } = wanted;
        let bytes = wanted.bytes()?;
        let planned = |rule, origin| Ok(Planned { wanted, bytes, rule, origin });
        if let Some(entry) = self.lock().get(name) {
            same(name, &entry.var, Some(&Shape::from(shape.as_slice())), *dtype, &Device::Cpu)?;
            return planned(entry.rule, Origin::Made(entry.clone()));
        }
        let rule = self.rule(name, &Shape::from(shape.as_slice()));
        if self.is_loaded(rule, name) {
            return planned(rule, Origin::Loaded);
        }
        let drawn = self.resolve(rule, name, &Shape::from(shape.as_slice()), Init::default())?;
        let check = drawn.initializer.plan(shape, self.layout(rule)).and_then(|plan| {
            plan.check_shape(shape)?;
            match plan {
                Plan::Independent(law) => law.check_type(*dtype),
                Plan::Structured(_) => Ok(()),
            }
        });
        check.map_err(|error| error.of_tensor(name))?;
        planned(rule, Origin::Drawn { drawn, state: None })
    }

    /// Prepares a generator that draws tensors in their order for another order: of PyTorch's generator, the state
    /// before each tensor is found; from one that has no copies, all tensors are drawn now and returned.
    fn prepare(&self, planned: &mut [Planned], order: &[usize]) -> Result<BTreeMap<usize, Tensor>, Error> {
        let mut kept = BTreeMap::new();
        if order.is_sorted() || self.lock_rng().has_keys() {
            return Ok(kept);
        }
        for (index, planned) in planned.iter_mut().enumerate() {
            let before = self.lock_rng().torch_state();
            if let Origin::Drawn { .. } = &planned.origin {
                let tensor = self.made(planned)?;
                match (&mut planned.origin, before) {
                    (Origin::Drawn { state, .. }, Some(before)) => *state = Some(Box::new(before)),
                    _ => drop(kept.insert(index, tensor)),
                }
            }
        }
        Ok(kept)
    }

    /// Draws the tensor or loads it.
    fn made(&self, planned: &Planned) -> Result<Tensor, Error> {
        let (WantedTensor { name, shape, dtype }, cpu) = (planned.wanted, &Device::Cpu);
        let shape = Shape::from(shape.as_slice());
        match &planned.origin {
            Origin::Made(entry) => Ok(entry.var.as_tensor().clone()),
            Origin::Loaded => {
                let loaded = self.loaded(planned.rule, name, &shape, *dtype, cpu)?;
                loaded.ok_or_else(|| Error::NoSuchTensor(name.clone()))
            }
            Origin::Drawn { drawn, state } => {
                let (initializer, layout) = (&drawn.initializer, self.layout(planned.rule));
                let on = (*dtype, cpu);
                match state {
                    None => self.draw(initializer, layout, name, shape, on, Kind::Tensor),
                    Some(state) => {
                        let mut state = TorchRng::clone(state);
                        let drawn =
                            initializer.drawn(RngSource::from(&mut state), shape, layout, on, Kind::Tensor);
                        drawn.map_err(|error| error.of_tensor(name))
                    }
                }
            }
        }
    }

    /// The tensor's entry of the manifest. The tensor counts as one that was asked for.
    fn entry(&self, planned: &Planned, tensor: &Tensor) -> Result<ManifestEntry, Error> {
        let name = &planned.wanted.name;
        let streamed = Streamed { rank: planned.wanted.shape.len(), rule: planned.rule };
        self.lock_streamed().insert(name.clone(), streamed);
        let drawn = match &planned.origin {
            Origin::Drawn { drawn, .. } => Some(drawn),
            Origin::Made(entry) => entry.drawn.as_ref(),
            Origin::Loaded => None,
        };
        self.manifest_entry(name, tensor, planned.rule, drawn)
    }

    fn manifest_of(&self, mut tensors: Vec<ManifestEntry>) -> Manifest {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Manifest { stream: self.lock_rng().to_string(), tensors }
    }
}
