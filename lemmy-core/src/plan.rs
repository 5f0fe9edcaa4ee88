//! The model as data: facts ([`Spec`]), the forward pass as a list of steps ([`Plan`]), and the weights that the steps
//! name ([`Role`]). Backends execute this description and know nothing else of the model.

#![forbid(unsafe_code)]

mod keys;
mod spec;
mod steps;
mod vision;
mod weights;

pub use spec::{LayerSpec, MoeSpec, RopeSpec, Spec, ValueSource};
pub use steps::{Plan, Step};
pub use vision::{VisionPlan, VisionRole, VisionSpec, VisionStep, VisionWeights};
pub use weights::{Matrix, Role, Shape, WeightSource, Weights};
