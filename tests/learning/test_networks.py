"""What a kind of network says of itself against what Keras builds of it."""

import pytest

from headstart.learning.calls import in_sequence
from headstart.params.networks import Cnn, Mlp, Network, layers

NETWORKS: list[Network] = [
    Mlp(name="mlp", units=(300, 100, 50, 50, 50), activation="selu"),
    Mlp(name="mlp", units=(12,), activation="relu"),
    Cnn(name="cnn", filters=(4, 6), dense=(5,), activation="relu"),
    Cnn(name="cnn", filters=(3,), dense=(), activation="tanh"),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(28, 28), (9, 8, 3)])
@pytest.mark.parametrize("units", [1, 3])
def test_shapes_parameters_and_operations_by_arithmetic_are_those_of_keras(
    network: Network, shape: tuple[int, ...], units: int
) -> None:
    from headstart.learning import flops, networks

    said = layers(network, shape, units=units)
    model = networks.build(shape, network, units=units, activation="sigmoid")
    assert [(layer.name, layer.shape, layer.parameters) for layer in said] == [
        (layer.name, layer.output.shape[1:], layer.count_params()) for layer in model.layers
    ]
    assert flops.calls(model) == in_sequence(said)


def test_the_notebooks_network_has_its_parameter_count() -> None:
    assert sum(layer.parameters for layer in layers(NETWORKS[0], (28, 28), units=1)) == 275_801
