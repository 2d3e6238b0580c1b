@pytest.mark.parametrize("method", ["fast", "exact"])
def test_recalibration_sees_augmented_inputs_unless_told_otherwise(method):
    inputs, given, _ = blobs(60)
    for where, shift in (("augmented", 5), ("canonical", 0)):
        run = corrector(augment=lambda x: x + 5, recalibration=method, recalibration_inputs=where)
        first, norm, *_ = run.fit((inputs, given)).model
        torch.testing.assert_close(norm.running_mean, first(inputs + shift).mean(0).detach(), rtol=1e-4, atol=1e-4)


def test_recalibration_draws_the_same_augmentation_in_every_pass():
    inputs, given, _ = blobs(60)
    run = corrector(augment=lambda x: x + torch.randn(4), recalibration="exact")
    assert_equal_runs(run.fit((inputs, given)), run.fit((inputs, given)))


class Recorder(Objective):
    """Plain training that notes the weights after every step, outside of the copy that a run makes of it."""

    steps: ClassVar[list] = []

    def after_step(self, model):
        self.steps.append(model.weight.detach().double().clone())


def test_weights_are_averaged_after_every_step():
    inputs = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
    deployed, Recorder.steps = [], []
    result = SelfCorrector(
        nn.Linear(5, 2), num_classes=2, init_epochs=2, cycles=1, cycle_epochs=3, lr=0.5, batch_size=32, verbose=False,
        aggregation="exponential", aggregation_decay=0.9, refine=False, objective=Recorder(),
        on_epoch=lambda model, record: deployed.append((model.training, model.weight.clone())),
    ).fit((inputs, (inputs[:, 0] > 0).long()))  # fmt: skip
    average = Recorder.steps[0]
    for count, weight in enumerate(Recorder.steps[1:], start=1):
        decay = min(0.9, count / (count + 1))
        average = decay * average + (1 - decay) * weight
    assert len(Recorder.steps) == 15
    assert torch.allclose(result.model.weight.double(), average, atol=1e-6)
    assert [training for training, _ in deployed] == [False] * 5
    assert torch.equal(deployed[-1][1], result.model.weight)
