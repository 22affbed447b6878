// Why this exists: the network must be the reference's, weight by weight and number by number.
using System.Text.Json;
using CoCLR.Engine.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class S3DGoldenTests
{
    // How far PyTorch 1.13's own single precision lies from double precision on these weights, on the machine of the golden numbers (AVX-512), on one with AVX2
    // only, and without oneDNN: 0.9e-4 to 2.1e-4 (features), 2.8e-4 and 3.4e-4 (training mode), 1.6e-4 and 7.6e-4 (head), 1.1e-2 (norms of gradients). The network makes rounding a thousand times
    // larger, and each processor rounds otherwise, so ours may lie twice as far from double precision as PyTorch does; in double precision it must be PyTorch's.
    private const double FeatureNoise = 2 * 2.1e-4;
    private const double TrainingNoise = 2 * 3.4e-4;
    private const double HeadNoise = 2 * 7.6e-4;
    private const double GradientNormNoise = 2 * 1.1e-2;
    private const double SameInDouble = 1e-9;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void S3DGolden_EvaluationMode_FeaturesMatch(bool fast)
    {
        using var scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require("s3d"));
        using var network = Load(fast);
        using var exact = (S3D)Load().to(ScalarType.Float64);
        network.eval();
        exact.eval();
        using var frozen = no_grad();
        Tensor clips = golden.Tensor("input_2x3x16x64x64");
        Tensor truth = exact.forward(clips.to_type(ScalarType.Float64));
        Assert.InRange(Close.RelativeError(truth.mean([2, 3, 4]), Double().Tensor("eval_pooled")), 0, SameInDouble);
        Assert.InRange(Close.RelativeError(golden.Tensor("eval_feature_map"), truth), 0, FeatureNoise);
        Tensor map = network.forward(clips);
        Assert.InRange(Close.RelativeError(map, truth), 0, FeatureNoise);
        Assert.InRange(Close.RelativeError(map.mean([2, 3, 4]), truth.mean([2, 3, 4])), 0, FeatureNoise);
    }

    /// <summary>In training mode at this size, batch norm over 16 values amplifies rounding: double precision tells what is right.</summary>
    [Fact]
    public void S3DGolden_TrainingMode_FeaturesStatisticsAndGradientsMatch()
    {
        using var scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require("s3d"));
        var expected = golden.Root.GetProperty("expected");
        var gradient = expected.GetProperty("train_grad");
        using var network = Load();
        using var exact = Load().to(ScalarType.Float64);
        var pooled = Step(network, out var loss);
        var exactPooled = Step(exact, out var exactLoss);
        var wanted = golden.Tensor("train_pooled");
        GoldenCase twice = Double();
        JsonElement twiceGradient = twice.Root.GetProperty("expected").GetProperty("train_grad");
        Assert.InRange(Close.NormError(exactPooled, twice.Tensor("train_pooled")), 0, SameInDouble);
        Assert.Equal(twiceGradient.GetProperty("loss").GetDouble(), exactLoss, 1e-7);
        Assert.InRange(Close.NormError(wanted, exactPooled), 0, TrainingNoise);
        Assert.InRange(Close.NormError(pooled, exactPooled), 0, TrainingNoise);
        Assert.Equal(gradient.GetProperty("loss").GetDouble(), loss, 2e-2);

        var state = network.state_dict();
        foreach (var buffer in expected.GetProperty("running_stats_after_one_train_forward_momentum_0.1").EnumerateObject())
        {
            var sum = buffer.Value.GetProperty("sum").GetDouble();
            Assert.True(Math.Abs(state[buffer.Name].sum().item<float>() - sum) <= 1e-4 * Math.Max(1, Math.Abs(sum)), buffer.Name);
        }

        var ours = Norms(network);
        var truth = Norms(exact);
        Assert.All(twiceGradient.GetProperty("grad_l2").EnumerateObject(), norm => Assert.Equal(1, truth[norm.Name] / norm.Value.GetDouble(), 1e-7));
        foreach (var norm in gradient.GetProperty("grad_l2").EnumerateObject())
        {
            Assert.InRange(Math.Abs((norm.Value.GetDouble() / truth[norm.Name]) - 1), 0, GradientNormNoise);
            Assert.True(Math.Abs((ours[norm.Name] / truth[norm.Name]) - 1) <= GradientNormNoise, $"{norm.Name}: {ours[norm.Name]} instead of {truth[norm.Name]}");
        }

        Tensor Step(Backbone backbone, out double value)
        {
            var dtype = backbone.parameters().First().dtype;
            backbone.train();
            var features = backbone.Features(golden.Tensor("input_2x3x16x64x64").to_type(dtype));
            var sum = (features * (arange(features.numel(), ScalarType.Float64) * 0.37).sin().to_type(dtype).view_as(features)).sum();
            sum.backward();
            value = sum.to_type(ScalarType.Float64).item<double>();
            return features;
        }

        static Dictionary<string, double> Norms(Backbone backbone)
            => backbone.named_parameters().ToDictionary(p => p.name, p => p.parameter.grad!.to_type(ScalarType.Float64).norm().item<double>());
    }

    [Theory]
    [InlineData("eval")]
    [InlineData("train")]
    public void S3DGolden_BlockStatistics_Match(string mode)
    {
        using var scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require("s3d"));
        using var network = Load();
        network.train(mode == "train");
        using var frozen = no_grad();
        var number = 0;
        foreach (var map in network.Blocks(golden.Tensor("input_2x3x16x64x64")))
        {
            var expected = golden.Root.GetProperty("expected").GetProperty($"{mode}_block{++number}");
            Assert.Equal(expected.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()), map.shape);
            var values = map.to_type(ScalarType.Float64);
            Assert.Equal(expected.GetProperty("mean").GetDouble(), values.mean().item<double>(), 1e-4);
            Assert.Equal(expected.GetProperty("std").GetDouble(), values.std().item<double>(), 1e-4);
            Assert.Equal(expected.GetProperty("max").GetDouble(), values.max().item<double>(), 1e-3);
        }

        Assert.Equal(5, number);
    }

    [Fact]
    public void S3DGolden_FullSizeClip_HasTheExpectedShapes()
    {
        using var scope = NewDisposeScope();
        var expected = new GoldenCase(GoldenFolder.Require("s3d")).Root.GetProperty("expected").GetProperty("shapes_3x32x128x128");
        using var network = (S3D)BackboneFactory.Create("S3D");
        network.eval();
        using var frozen = no_grad();
        var shapes = network.Blocks(zeros([1, 3, 32, 128, 128])).Select(map => map.shape).ToArray();
        Assert.Equal(expected.EnumerateArray().Select(shape => shape.EnumerateArray().Select(d => d.GetInt64()).ToArray()), shapes);
    }

    [Fact]
    public void S3DGolden_HeadOutput_Matches()
    {
        using var scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require("s3d"));
        using var network = Load();
        using var encoder = VideoEncoder.Create("S3D");
        encoder.Backbone.load_state_dict(network.state_dict());
        ((S3D)encoder.Backbone).AllowFast = false;
        encoder.eval();
        using (no_grad())
        {
            var o1 = arange(1024, ScalarType.Float64);
            var o2 = arange(128, ScalarType.Float64);
            Set("head.0.weight", (1.0 + (0.37 * o1.unsqueeze(1)) + (0.11 * o1.unsqueeze(0))).sin() * 0.05);
            Set("head.0.bias", o1.cos() * 0.01);
            Set("head.2.weight", (2.0 + (0.37 * o2.unsqueeze(1)) + (0.11 * o1.unsqueeze(0))).sin() * 0.05);
            Set("head.2.bias", o2.cos() * 0.01);
            Tensor truth = Double().Tensor("eval_head_out");
            Tensor clips = golden.Tensor("input_2x3x16x64x64");
            Assert.InRange(Close.RelativeError(golden.Tensor("eval_head_out"), truth), 0, HeadNoise);
            Assert.InRange(Close.RelativeError(encoder.Head.forward(encoder.Backbone.Features(clips)), truth), 0, HeadNoise);
            Assert.InRange(Close.NormError(encoder.forward(clips), nn.functional.normalize(truth, 2, 1)), 0, HeadNoise);
            encoder.to(ScalarType.Float64);
            Assert.InRange(Close.RelativeError(encoder.Head.forward(encoder.Backbone.Features(clips.to_type(ScalarType.Float64))), truth), 0, SameInDouble);
        }

        void Set(string name, Tensor values)
        {
            var target = encoder.state_dict()[name];
            target.copy_(values.to_type(ScalarType.Float32).view(target.shape));
        }
    }

    [Fact]
    public void S3DGolden_ParameterCounts_Match()
    {
        var expected = new GoldenCase(GoldenFolder.Require("s3d")).Root.GetProperty("expected");
        using var plain = BackboneFactory.Create("S3D");
        using var gated = BackboneFactory.Create("S3DG");
        Assert.Equal(expected.GetProperty("n_params_s3d").GetInt64(), plain.parameters().Sum(p => p.numel()));
        Assert.Equal(expected.GetProperty("n_params_s3dg").GetInt64(), gated.parameters().Sum(p => p.numel()));
    }

    /// <summary>PyTorch's numbers for the same weights and clips in double precision.</summary>
    private static GoldenCase Double() => new(GoldenFolder.Require("s3d_double"));

    private static S3D Load(bool fast = false)
    {
        var path = GoldenFolder.Require("s3d_weights.json");
        using var document = JsonDocument.Parse(File.ReadAllText(path));
        var bytes = File.ReadAllBytes(Path.Combine(Path.GetDirectoryName(path)!, document.RootElement.GetProperty("file").GetString()!));
        var network = (S3D)BackboneFactory.Create("S3D");
        network.AllowFast = fast;
        var state = network.state_dict();
        var left = state.Keys.Where(name => !name.EndsWith("num_batches_tracked", StringComparison.Ordinal)).ToHashSet();
        using var frozen = no_grad();
        foreach (var entry in document.RootElement.GetProperty("entries").EnumerateArray())
        {
            var name = entry.GetProperty("name").GetString()!;
            long[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())];
            var count = entry.GetProperty("count").GetInt32();
            using var values = GoldenCase.FromBytes(bytes.AsSpan(entry.GetProperty("offset").GetInt32(), count * 4).ToArray(), "float32", shape);
            Assert.Equal(shape, state[name].shape);
            state[name].copy_(values);
            Assert.True(left.Remove(name), name);
        }

        Assert.Empty(left);
        return network;
    }
}
