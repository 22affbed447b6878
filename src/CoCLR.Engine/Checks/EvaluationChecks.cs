// Why this exists: the figures of a results table come from features that a device has extracted; they must not depend on it.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>
/// Extraction of features on the device, then linear probe and retrieval, against the same from features in double precision.
/// </summary>
internal sealed class EvaluationChecks(DeviceCheck check)
{
    private const string Name = "evaluation: features, probe, recall";
    private const int Classes = 3;
    private readonly Lazy<(FeatureSet Train, FeatureSet Test)>[] _exact = [new()];

    /// <summary>The comparisons.</summary>
    public IEnumerable<Comparison> All()
    {
        _exact[0] = new(() => Extract(CPU, Precision.Fp32, ScalarType.Float64));
        foreach (Precision precision in Enum.GetValues<Precision>())
        {
            yield return new Comparison(Name, precision, NetworkChecks.Tolerance(precision, 1e-3, 0.1), () => Compare(precision));
        }
    }

    private double Compare(Precision precision)
    {
        (FeatureSet train, FeatureSet test) = Extract(check.Device, precision, ScalarType.Float32);
        (FeatureSet exactTrain, FeatureSet exactTest) = _exact[0].Value;
        double features = Math.Max(Distance(train, exactTrain), Distance(test, exactTest));
        var options = new LinearProbeOptions { Epochs = 10, Milestones = [], LearningRate = 0.1 };
        double probe = Distance(
            LinearProbe.Evaluate(train, test, options).Probabilities, LinearProbe.Evaluate(exactTrain, exactTest, options).Probabilities);
        double recall = Math.Abs(RecallAt1(train, test) - RecallAt1(exactTrain, exactTest));
        return new[] { features, probe, recall }.Max();

        static double RecallAt1(FeatureSet gallery, FeatureSet queries) =>
            Retrieval.Evaluate(gallery, queries, "rgb", neighbours: 1).Result.Recalls.First(r => r.K == 1).Value;
    }

    private static double Distance(FeatureSet actual, FeatureSet expected) =>
        DeviceCheck.Distance(tensor(actual.Values), tensor(expected.Values));

    private (FeatureSet Train, FeatureSet Test) Extract(Device device, Precision precision, ScalarType type)
    {
        using var backbone = (Backbone)NetworkChecks.Healthy("S3DMini", check.Small ? 0.0625 : 0.25).to(type).to(device);
        backbone.Precision = precision;
        if (type == ScalarType.Float32)
        {
            check.Spoil(backbone);
        }

        return (Of(100), Of(200));

        FeatureSet Of(int seed)
        {
            FeatureSet set =
                FeatureExtractor.Extract(backbone, new Patterns(seed, check.Small ? 2 : 6, check.Small ? 32 : 64, type, device));
            using Tensor values = tensor(set.Values);
            float[] told = (type == ScalarType.Float32 ? check.Through(Name, values) : values).data<float>().ToArray();
            return new FeatureSet(set.Ids, told, set.Labels, set.ClassNames, set.Groups);
        }
    }

    /// <summary>Videos of two clips each; those of a class share a pattern.</summary>
    private sealed class Patterns(int seed, int perClass, int size, ScalarType type, Device device) : IClipBatches
    {
        private readonly int[] _labels = [.. Enumerable.Range(0, Classes * perClass).Select(i => i % Classes)];

        public IReadOnlyList<string> Ids => [.. _labels.Select((_, i) => $"{seed}-{i}")];

        public IReadOnlyList<int> Labels => _labels;

        public IReadOnlyList<string> ClassNames => [.. Enumerable.Range(0, Classes).Select(c => $"class {c}")];

        public IReadOnlyList<string>? Groups => null;

        public int ClipsInPass => 2 * _labels.Length;

        public IEnumerable<VideoClips> Pass(int epoch, CancellationToken cancellationToken = default)
        {
            for (int video = 0; video < _labels.Length; video++)
            {
                using Tensor pattern = NetworkChecks.Clips(_labels[video], 1, 8, size).expand(2, -1, -1, -1, -1);
                using Tensor own = NetworkChecks.Clips(seed + video, 2, 8, size);
                yield return new VideoClips((pattern + (0.5 * own)).to(type).to(device), [video, video]);
            }
        }
    }
}
