// Why this exists: bf16 must learn what fp32 learns: near in every gradient, with weights and gradients in 32 bits.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class Bf16Tests
{
    [Theory]
    [InlineData("STConv3d")]
    [InlineData("SepInception")]
    [InlineData("SepInception with gates")]
    public void BlockInTraining_IsNearFp32_ForwardAndBackward(string name)
    {
        using var scope = NewDisposeScope();
        var (full, half) = (Block(), Block());
        using var generator = new Generator(5);
        var input = randn([4, 16, 4, 12, 12], generator: generator);
        var (fullInput, halfInput) = (input.clone().requires_grad_(true), input.to(ScalarType.BFloat16).detach().requires_grad_(true));
        var (fullOutput, halfOutput) = (full.forward(fullInput), half.forward(halfInput));
        var direction = randn(fullOutput.shape, generator: generator);
        fullOutput.backward([direction]);
        halfOutput.backward([direction.to(ScalarType.BFloat16)]);
        Assert.Equal(ScalarType.BFloat16, halfOutput.dtype);
        Assert.InRange(Close.NormError(halfOutput, fullOutput), 1e-7, 0.02); // not zero: it was computed in another precision
        Assert.InRange(Close.NormError(halfInput.grad!, fullInput.grad!), 1e-7, 0.15); // ReLU and pooling choose another side here and there
        Assert.InRange(MedianGradientError(half, full), 1e-7, 0.15);
        Assert.All(full.buffers().Zip(half.buffers()).Where(b => b.First.is_floating_point()), b => Assert.InRange(Close.NormError(b.Second, b.First), 0, 0.02));

        nn.Module<Tensor, Tensor> Block()
        {
            using var weights = new Generator(3);
            nn.Module<Tensor, Tensor> block = name == "STConv3d" ? new STConv3d(weights, 16, 12, kernel: 3, stride: 2) : new SepInception(weights, 16, 8, 6, 8, 4, 8, 8, gating: name.EndsWith("gates", StringComparison.Ordinal));
            block.train();
            return block;
        }
    }

    [Theory]
    [InlineData("S3D")]
    [InlineData("R2Plus1D18")]
    public void WholeNetwork_IsNearFp32_WithFeaturesAndGradientsIn32Bits(string name)
    {
        using var scope = NewDisposeScope();
        Backbone[] pair = [.. Enumerable.Range(0, 2).Select(_ => BackboneFactory.Create(name == "S3D" ? "S3DMini" : name, seed: 3, width: 0.125))];
        using var generator = new Generator(5);
        using (no_grad())
        {
            // Weights of a healthy scale: signals neither vanish nor grow.
            foreach (var parameter in pair[0].parameters().Where(p => p.dim() > 1))
            {
                parameter.copy_(randn(parameter.shape, generator: generator).mul_(Math.Sqrt(2.0 / (parameter.numel() / parameter.shape[0]))));
            }
        }

        var (full, half) = (pair[0], pair[1]);
        half.load_state_dict(full.state_dict());
        half.Precision = Precision.Bf16;
        full.eval(); // with statistics of a few clips, batch norms enlarge every rounding
        half.eval();
        var clips = nn.functional.interpolate(randn([2, 3, 2, 3, 3], generator: generator), [8, 48, 48]);
        var direction = randn([2, full.FeatureSize], generator: generator);
        var (fullFeatures, halfFeatures) = (full.Features(clips), half.Features(clips));
        Assert.Equal(ScalarType.Float32, halfFeatures.dtype);
        Assert.InRange(Close.NormError(halfFeatures, fullFeatures), 1e-7, 0.03);
        (fullFeatures * direction).sum().backward();
        (halfFeatures * direction).sum().backward();
        Assert.InRange(MedianGradientError(half, full), 1e-7, 0.5);
        Assert.All(half.buffers().Where(b => b.is_floating_point()), b => Assert.Equal(ScalarType.Float32, b.dtype));
    }

    [Fact]
    public void AFewSteps_LowerTheLoss_AndKeepWeightsIn32Bits()
    {
        using var scope = NewDisposeScope();
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder(), 0.9);
        query.train();
        momentum.Key.train();
        using var queue = new KeyQueue(16, 16, seed: 2);
        using var optimizer = new Adam([momentum.Trained()], 1e-2, 0);
        using var generator = new Generator(9);
        var first = randn([6, 3, 8, 32, 32], generator: generator);
        var second = first + (0.1 * randn([6, 3, 8, 32, 32], generator: generator));
        var losses = new List<float>();
        for (var step = 0; step < 8; step++)
        {
            using var inner = NewDisposeScope();
            var loss = InfoNce.Loss(ContrastiveLogits.Of(query.forward(first), momentum.EncodeKeys(second), queue.Keys, 0.07));
            optimizer.ZeroGradients();
            loss.backward();
            optimizer.Step();
            momentum.Update();
            losses.Add(loss.item<float>());
        }

        Assert.True(losses[^1] < 0.7 * losses[0], string.Join(' ', losses));
        Assert.All(query.state_dict().Values.Where(t => t.is_floating_point()), t => Assert.Equal(ScalarType.Float32, t.dtype));

        static VideoEncoder Encoder()
        {
            var encoder = VideoEncoder.Create("S3DMini", 16, seed: 4, width: 0.125);
            encoder.Backbone.Precision = Precision.Bf16;
            return encoder;
        }
    }

    private static double MedianGradientError(nn.Module half, nn.Module full)
    {
        double[] errors = [.. full.named_parameters().Zip(half.named_parameters(), (f, h) =>
        {
            Assert.Equal((ScalarType.Float32, ScalarType.Float32), (h.parameter.dtype, h.parameter.grad!.dtype));
            Assert.True(h.parameter.grad!.isfinite().all().item<bool>(), h.name);
            return Close.NormError(h.parameter.grad!, f.parameter.grad!);
        }).Order()];
        return errors[errors.Length / 2];
    }
}
