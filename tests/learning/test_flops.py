"""Operations layer by layer, against TensorFlow's own graph of the same training step.

The graph is pruned to what its outputs need, as TensorFlow does before it runs one, so that a
gradient that nobody needs is not in it. It is counted twice. First its kernels, node by node from
the shapes in the graph, forward and backward: these are what we count, and the two are equal.
Then by TensorFlow's profiler, which also counts what we leave out: biases, activations,
normalisation, pooling, the loss. It has no statistics for the gradients of depthwise kernels and
looks into no called function (where grouped kernels are), so these are added to what it says.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras.src.applications.convnext import LayerScale
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from headstart.data import weights
from headstart.judging.cost import Work
from headstart.learning import flops, networks
from headstart.params.networks import Cnn, Mlp
from headstart.params.strategies import ALL_LAYERS, HEAD_ALONE, Phase
from headstart.transfer import cut

BATCH = 2


def step_of(model: keras.Model) -> tf.Graph:
    """TensorFlow's graph of one training step of what is trainable in `model`."""

    @tf.function
    def step(images: Any) -> Any:
        with tf.GradientTape() as tape:
            answers = tf.nest.flatten(model(images, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.square(answer - 0.3)) for answer in answers])
        return loss, tape.gradient(loss, model.trainable_variables)

    return traced(step, model)


def forward_of(model: keras.Model) -> tf.Graph:
    """TensorFlow's graph of one forward pass."""
    return traced(tf.function(functools.partial(model, training=False)), model)


def traced(function: Any, model: keras.Model) -> tf.Graph:
    images = tf.TensorSpec((BATCH, *model.input_shape[1:]))
    graph = function.get_concrete_function(images).graph
    return pruned(graph, graph.outputs)


def pruned(graph: tf.Graph, outputs: list[Any]) -> tf.Graph:
    kept = tf.compat.v1.graph_util.extract_sub_graph(
        graph.as_graph_def(add_shapes=True), [output.op.name for output in outputs]
    )
    with tf.Graph().as_default() as needed:
        tf.import_graph_def(kept, name="")
    return needed


def each(graph: tf.Graph, within: str = "") -> Iterator[tuple[str, float]]:
    """Yields the multiply-adds of each kernel in `graph`, with its kind and where it is called."""
    functions = {
        function.signature.name: function for function in graph.as_graph_def().library.function
    }
    for node in graph.get_operations():
        given = [tensor.shape for tensor in node.inputs]
        if node.type in ("PartitionedCall", "StatefulPartitionedCall"):
            called = function_def_to_graph(functions[node.get_attr("f").name], given)
            used = zip(called.outputs, node.outputs, strict=True)
            outputs = [inside for inside, outside in used if outside.consumers()]
            yield from each(pruned(called, outputs), "called ")
            continue
        made = [tensor.shape.num_elements() for tensor in node.outputs]
        match node.type:
            case "MatMul" | "BatchMatMulV2" | "BatchMatMulV3":
                flipped = "transpose_a" if node.type == "MatMul" else "adj_x"
                terms = made[0] * given[0][-2 if node.get_attr(flipped) else -1]
            case "Conv2D" | "Conv3D":
                terms = made[0] * given[1][:-1].num_elements()
            case "DepthwiseConv2dNative":
                terms = made[0] * given[1][:2].num_elements()
            case "Conv2DBackpropInput" | "Conv3DBackpropInputV2":
                terms = given[2].num_elements() * given[1][:-1].num_elements()
            case "Conv2DBackpropFilter" | "Conv3DBackpropFilterV2":
                terms = given[2].num_elements() * node.outputs[0].shape[:-1].num_elements()
            case "DepthwiseConv2dNativeBackpropInput":
                terms = given[2].num_elements() * given[1][:2].num_elements()
            case "DepthwiseConv2dNativeBackpropFilter":
                terms = given[2].num_elements() * node.outputs[0].shape[:2].num_elements()
            # Its products alone: what sums them up over the images is in no other kernel's count.
            case "Mul" if "layer_scale" in node.name:
                terms = made[0] / 2
            case _:
                continue
        yield within + node.type, terms


def kernels(graph: tf.Graph) -> float:
    """The operations of the kernels in `graph`, of one image."""
    return sum(2 * terms for _, terms in each(graph)) / BATCH


def profiled(graph: tf.Graph) -> float:
    """What TensorFlow's profiler counts in `graph`, of one image, with what it does not know."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    known = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"})
    unknown = ("called ", "DepthwiseConv2dNativeBackprop", "Conv3DBackprop")
    missed = sum(2 * terms for kind, terms in each(graph) if kind.startswith(unknown))
    return (known.total_float_ops + missed) / BATCH


def step(model: keras.Model, layers: int | None = ALL_LAYERS) -> int:
    """What we count for a step of the top `layers`, of one image."""
    work = Work(flops.calls(model), (Phase(1, layers),), images=1, batch_size=1)
    assert work.counted
    return work.flops_as_notebook


def forward(model: keras.Model) -> int:
    """What we count for a forward pass of one image."""
    return sum(call.flops or 0 for call in flops.calls(model))


MLP = Mlp(name="mlp", units=(300, 100, 50, 50, 50), activation="selu")
CNN = Cnn(name="cnn", filters=(32, 64), dense=(50,), activation="relu")


def ours(network: Mlp | Cnn) -> keras.Model:
    return networks.build((28, 28), network, units=1, activation="sigmoid")


def application(name: str, size: int) -> Callable[[], keras.Model]:
    build = getattr(keras.applications, name)
    return functools.partial(build, weights=None, input_shape=(size, size, 3), classes=10)


# With what the profiler counts and we leave out, at most, in a forward pass and in a step. The
# smaller the kernels, the more normalisation is beside them: depthwise networks have the most.
NETWORKS = [
    pytest.param(functools.partial(ours, MLP), 0.002, 0.001, id="mlp"),
    pytest.param(functools.partial(ours, CNN), 0.01, 0.01, id="cnn"),
    *(
        pytest.param(application(name, 64), *share, id=name, marks=pytest.mark.slow)
        for name, share in {
            "MobileNetV2": (0.03, 0.07),
            "EfficientNetB0": (0.05, 0.09),
            "ResNet50": (0.01, 0.02),
            "DenseNet121": (0.01, 0.03),
            "ConvNeXtTiny": (0.01, 0.01),
        }.items()
    ),
]


@pytest.mark.parametrize(("build", "forward_share", "step_share"), NETWORKS)
def test_parameters_forward_pass_and_training_step_are_what_tensorflow_counts(
    build: Callable[[], keras.Model], forward_share: float, step_share: float
) -> None:
    model = build()
    trained = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    # What dropout draws from is a variable and no parameter.
    held = [math.prod(kept.shape) for kept in model.variables if "seed_generator" not in kept.path]
    assert networks.parameters(model) == (trained, sum(held))
    graphs = forward_of(model), step_of(model)
    counted = forward(model), step(model)
    assert [kernels(graph) for graph in graphs] == list(counted)
    shares = [profiled(graph) / own - 1 for graph, own in zip(graphs, counted, strict=True)]
    assert 0 < shares[0] < forward_share
    assert 0 < shares[1] < step_share


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "MobileNetV2_0.35" else pytest.mark.slow)
        for name in weights.NETWORKS
    ],
)
def test_operations_of_published_networks_stand_in_their_table(name: str) -> None:
    network = weights.NETWORKS[name]
    make = getattr(keras.applications, network.application)
    shape = (network.sizes[-1], network.sizes[-1], 3)
    model = make(weights=None, include_top=False, input_shape=shape, **network.options)
    assert forward(model) == network.flops
    assert networks.parameters(model)[1] == network.parameters


def test_training_step_of_the_notebooks_network_takes_1181100_operations_an_image() -> None:
    assert step(ours(MLP)) == 1_181_100


@pytest.mark.parametrize("layers", [HEAD_ALONE, 2, ALL_LAYERS])
@pytest.mark.parametrize("network", [MLP, CNN])
def test_frozen_layers_have_no_gradient_and_the_lowest_that_trains_none_of_its_inputs(
    network: Mlp | Cnn, layers: int | None
) -> None:
    model = ours(network)
    cut.set_trainable(model, layers)
    assert kernels(step_of(model)) == step(model, layers)


def image() -> Any:
    return keras.Input((12, 12, 4), name="image")


def flat(inputs: Any, outputs: Any) -> keras.Model:
    pooled = keras.layers.GlobalAveragePooling2D()(outputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(pooled))


def branches() -> keras.Model:
    inputs = image()
    left = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    right = keras.layers.Conv2D(4, 1)(keras.layers.ReLU()(inputs))
    joined = keras.layers.Add()([left, right, inputs])
    beside = keras.layers.Concatenate()([joined, left * 2.0 + 1.0])
    return flat(inputs, keras.layers.Conv2D(5, 3, strides=2)(beside))


def one_layer_used_twice() -> keras.Model:
    inputs = image()
    again = keras.layers.Conv2D(4, 3, padding="same")
    between = keras.layers.Conv2D(4, 1)(again(inputs))
    return flat(inputs, again(keras.layers.MaxPooling2D(2)(between)))


def nested_model_used_twice_at_two_sizes() -> keras.Model:
    inner = keras.Input((None, None, 4))
    body = keras.layers.Conv2D(4, 3, activation="relu")(inner)
    body = keras.Model(
        inner, keras.Sequential([keras.layers.DepthwiseConv2D(3), keras.layers.Conv2D(4, 1)])(body)
    )
    inputs = image()
    return flat(inputs, body(body(inputs)))


def separable() -> keras.Model:
    inputs = image()
    first = keras.layers.SeparableConv2D(6, 3, depth_multiplier=2, strides=2)(inputs)
    return flat(inputs, keras.layers.SeparableConv2D(5, 3)(first))


def depthwise() -> keras.Model:
    inputs = image()
    first = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(inputs)
    return flat(inputs, keras.layers.DepthwiseConv2D(5, strides=2)(first))


def grouped_and_dilated() -> keras.Model:
    inputs = image()
    first = keras.layers.Conv2D(8, 3, groups=4)(inputs)
    return flat(inputs, keras.layers.Conv2D(6, 3, groups=2, dilation_rate=2)(first))


def transposed() -> keras.Model:
    inputs = image()
    first = keras.layers.Conv2DTranspose(6, 3, strides=2, padding="same")(inputs)
    return flat(inputs, keras.layers.Conv2DTranspose(5, 3)(first))


def normalised_pixels() -> keras.Model:
    inputs = image()
    seen = keras.layers.Normalization(mean=0.5, variance=0.1)(keras.layers.Rescaling(2.0)(inputs))
    return flat(inputs, keras.layers.Conv2D(5, 3)(seen))


def trained_scale_below_the_first_kernel() -> keras.Model:
    inputs = image()
    return flat(inputs, keras.layers.Conv2D(5, 3)(keras.layers.BatchNormalization()(inputs)))


def scaled() -> keras.Model:
    inputs = image()
    first = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    first = LayerScale(1e-6, 4, name="layer_scale")(first)
    return flat(inputs, keras.layers.Conv2D(5, 3)(first))


def rows() -> keras.Model:
    inputs = image()
    lines = keras.layers.Reshape((12, 48))(inputs)
    lines = keras.layers.Conv1D(6, 3)(keras.layers.Dense(8)(lines))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(lines)))


def two_outputs() -> keras.Model:
    inputs = image()
    shared = keras.layers.Conv2D(5, 3)(inputs)
    heads = [keras.layers.Dense(2)(keras.layers.Flatten()(part)) for part in (inputs, shared)]
    return keras.Model(inputs, heads)


def volumes() -> keras.Model:
    inputs = image()
    block = keras.layers.Conv3D(3, 3)(keras.layers.Reshape((12, 12, 4, 1))(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(block)))


@pytest.mark.parametrize(
    "build",
    [
        branches,
        one_layer_used_twice,
        nested_model_used_twice_at_two_sizes,
        separable,
        depthwise,
        grouped_and_dilated,
        transposed,
        normalised_pixels,
        trained_scale_below_the_first_kernel,
        scaled,
        rows,
        two_outputs,
        volumes,
    ],
)
def test_any_graph_takes_what_tensorflow_computes(build: Callable[[], keras.Model]) -> None:
    model = build()
    weighted = [layer for layer in model.layers if layer.weights]
    assert kernels(forward_of(model)) == forward(model)
    for layers in (ALL_LAYERS, *range(1, len(weighted))):
        cut.set_trainable(model, layers)
        assert kernels(step_of(model)) == step(model, layers), layers


def attention(lines: Any) -> Any:
    return keras.layers.MultiHeadAttention(2, 4)(lines, lines)


@pytest.mark.parametrize(
    "layer",
    [
        attention,
        lambda lines: keras.layers.Attention()([lines, lines]),
        lambda lines: keras.layers.Dot(-1)([lines, lines]),
        lambda lines: keras.ops.matmul(lines, keras.ops.transpose(lines, (0, 2, 1))),
        lambda lines: keras.ops.einsum("abc,adc->abd", lines, lines),
        keras.layers.EinsumDense("abc,cd->abd", output_shape=(5, 4)),
        keras.layers.LSTM(4),
        keras.layers.TimeDistributed(keras.layers.Dense(3)),
        keras.layers.Lambda(lambda lines: lines),
    ],
)
def test_what_cannot_be_counted_is_unknown_and_not_nothing(layer: Callable[[Any], Any]) -> None:
    inputs = keras.Input((5, 8))
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(layer(inputs)))
    model = keras.Model(inputs, outputs)
    nested = keras.Sequential([keras.Input((5, 8)), model])
    for found in (model, nested):
        calls = flops.calls(found)
        assert [call.flops is None for call in calls] == [True, False]
        assert not Work(calls, (Phase(1, HEAD_ALONE),), images=1, batch_size=1).counted


def test_open_image_size_is_unknown() -> None:
    inputs = keras.Input((None, None, 3))
    calls = flops.calls(flat(inputs, keras.layers.Conv2D(2, 3)(inputs)))
    assert [call.flops for call in calls] == [None, 12]


def test_marks_of_what_trained_last_change_no_count() -> None:
    model = branches()
    before = flops.calls(model)
    cut.set_trainable(model, HEAD_ALONE)
    assert flops.calls(model) == before
