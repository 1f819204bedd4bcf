//! Two-dimensional convolution and its gradients.

use crate::{
    activation::Finish,
    conv_shape::ConvShape,
    direct::Direct,
    filters::Filters,
    gemm::Factors,
    gradient_input, gradient_weight,
    simd::Level,
    winograd::{Method, Winograd},
};

#[cfg(test)]
mod tests;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Winograd(Method),
    Direct,
}

/// `output = finish(input * weight)`.
///
/// `input` is `[batch, in_channels, height, width]`, `weight` `[out_channels, in_channels, kernel, kernel]`, `output`
/// `[batch, out_channels, out_height, out_width]`. The result does not depend on the number of
/// threads. Kernels 3x3 of stride 1 or 2 go through Winograd's minimal filtering where that is faster; its error, in units of the
/// output's root mean square, stays below 4e-6 rms and 6e-5 at most for inputs like those of a network.
///
/// # Panics
///
/// The shape is impossible (see [`ConvShape::checked`]) or a slice does not have the length it gives.
pub fn conv2d(shape: &ConvShape, input: &[f32], weight: &[f32], finish: &Finish<'_>, output: &mut [f32]) {
    shape.check(input.len(), weight.len(), output.len());
    finish.check(shape.out_channels, output.len());
    let filters = Filters::stored(weight, shape.out_channels, shape.in_channels, shape.kernel);
    convolve(shape, input, filters, *finish, output);
}

/// The gradient of `input`: `input_gradient = output_gradient * weight` turned round.
///
/// The gradient is that of the convolution alone, before any activation.
///
/// # Panics
///
/// As [`conv2d`].
pub fn conv2d_backward_input(
    shape: &ConvShape,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    shape.check_gradients(input_gradient.len(), weight.len(), output_gradient.len());
    let filters = Filters::stored(weight, shape.out_channels, shape.in_channels, shape.kernel);
    match shape.gradient_shape() {
        Some(turned) => {
            convolve(&turned, output_gradient, filters.turned(), Finish::default(), input_gradient);
        }
        None => gradient_input::scatter(Level::current(), shape, output_gradient, weight, input_gradient),
    }
}

/// The gradient of `weight`.
///
/// # Panics
///
/// As [`conv2d`].
pub fn conv2d_backward_weight(
    shape: &ConvShape,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    shape.check_gradients(input.len(), weight_gradient.len(), output_gradient.len());
    let gradient =
        gradient_weight::WeightGradient { level: Level::current(), shape: *shape, input, output_gradient };
    gradient.run(weight_gradient);
}

/// The gradient of `bias`: the sum of `output_gradient` over pictures and pixels.
///
/// # Panics
///
/// As [`conv2d`].
pub fn conv2d_backward_bias(shape: &ConvShape, output_gradient: &[f32], bias_gradient: &mut [f32]) {
    shape.check(shape.input_len(), shape.weight_len(), output_gradient.len());
    assert_eq!(bias_gradient.len(), shape.out_channels, "floats in the gradient of the bias of {shape:?}");
    gradient_weight::sum_channels(Level::current(), shape, output_gradient, bias_gradient);
}

fn convolve(shape: &ConvShape, input: &[f32], filters: Filters<'_>, finish: Finish<'_>, output: &mut [f32]) {
    let level = Level::current();
    convolve_by(route(level, shape), level, shape, input, filters, finish, output);
}

fn convolve_by(
    route: Route,
    level: Level,
    shape: &ConvShape,
    input: &[f32],
    filters: Filters<'_>,
    finish: Finish<'_>,
    output: &mut [f32],
) {
    match route {
        Route::Winograd(method) => {
            Winograd { level, shape: *shape, input, filters, finish }.run(method, output);
        }
        Route::Direct => {
            let factors = Factors::current();
            Direct { level, factors, shape: shape.in_one_row(), input, filters, finish }.run(output);
        }
    }
}

/// The cheapest way by a count of vector operations (multiply-adds one, transforms and gathering as measured).
pub(crate) fn route(level: Level, shape: &ConvShape) -> Route {
    if shape.kernel != 3 || shape.stride > 2 {
        return Route::Direct;
    }
    let lanes = level.lanes();
    let (height, width) = shape.output_size();
    let (inputs, outputs) = (shape.in_channels as f64, shape.out_channels as f64);
    let padded_outputs = shape.out_channels.next_multiple_of(4) as f64;
    let winograd = |side: usize, products: f64, transform: f64| {
        let tiles = shape.batch * height.div_ceil(side) * width.div_ceil(side);
        let vectors = tiles.div_ceil(lanes) as f64;
        let weights = 16.0 * 16.0 / lanes as f64 * inputs * padded_outputs / 16.0 * products / 16.0;
        vectors * (products * inputs * padded_outputs + transform * (inputs + outputs)) + weights
    };
    let pixels = (shape.batch * (height * width).div_ceil(lanes)) as f64;
    let direct = (Route::Direct, pixels * 9.0 * inputs * (padded_outputs + 4.0));
    let by_tiles: &[(Method, f64)] = if shape.stride == 1 {
        &[(Method::F2, winograd(2, 16.0, 250.0)), (Method::F4, winograd(4, 36.0, 300.0))]
    } else {
        &[(Method::F2Strided, winograd(2, 25.0, 250.0))]
    };
    let candidates = by_tiles.iter().map(|&(method, cost)| (Route::Winograd(method), cost));
    let cheapest = std::iter::once(direct).chain(candidates).min_by(|a, b| a.1.total_cmp(&b.1));
    cheapest.map_or(Route::Direct, |(route, _)| route)
}
