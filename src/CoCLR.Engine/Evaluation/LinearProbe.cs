// Why this exists: the paper's first measure of a representation: how well a linear classifier on frozen features tells the classes apart.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace CoCLR.Engine.Evaluation;

/// <summary>How a linear probe on features is trained; the defaults are the reference's (method.md 1e).</summary>
public sealed record LinearProbeOptions
{
    /// <summary>Passes over the training features.</summary>
    public int Epochs { get; init; } = 100;

    /// <summary>Features in a step.</summary>
    public int BatchSize { get; init; } = 1024;

    /// <summary>Learning rate of SGD.</summary>
    public double LearningRate { get; init; } = 1.0;

    /// <summary>
    /// Begins anew at a tenth of the rate, up to three times, where the training loss climbs above its first value: on few videos or
    /// features that are nearly alike 1.0 diverges, and what comes out then says nothing about the features.
    /// </summary>
    public bool LowersRate { get; init; } = true;

    /// <summary>Momentum of SGD.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>Weight decay (L2) on all parameters.</summary>
    public double WeightDecay { get; init; } = 1e-3;

    /// <summary>Epochs at which the learning rate falls to a tenth.</summary>
    public IReadOnlyList<int> Milestones { get; init; } = [60, 80];

    /// <summary>How the epoch is chosen.</summary>
    public Selection Selection { get; init; } = Selection.Last;

    /// <summary>Share of the training videos held out for <see cref="Selection.Holdout"/>.</summary>
    public double HoldoutFraction { get; init; } = Holdout.Fraction;

    /// <summary>
    /// Epochs between two looks at the test set with <see cref="Selection.Test"/>, as in the reference; a held-out part is looked at every
    /// epoch.
    /// </summary>
    public int TestEvery { get; init; } = 5;

    /// <summary>Seed of the initial weights, the order and the held-out part.</summary>
    public long Seed { get; init; }
}

/// <summary>A trained classifier and what it says.</summary>
/// <param name="Result">The numbers.</param>
/// <param name="Probabilities">Softmax of each test video, for two-stream fusion.</param>
public sealed record ProbeOutcome(ProbeResult Result, FeatureSet Probabilities);

/// <summary>Linear probe on stored features: BatchNorm1d, then Linear (paper section 4.1, method.md 1e), on the CPU.</summary>
public sealed class LinearProbe : IDisposable
{
    private const int Lowerings = 3;
    private const double Climb = 1.1;
    private static readonly ulong Purpose = CounterRandom.Purpose("linear probe");

    private readonly TorchSharp.Modules.BatchNorm1d _norm;
    private readonly TorchSharp.Modules.Linear _linear;

    private LinearProbe(int dimension, int classes)
    {
        _norm = BatchNorm1d(dimension);
        _linear = Linear(dimension, classes);
    }

    /// <summary>Mean training loss of each epoch.</summary>
    public IReadOnlyList<double> LossPerEpoch { get; private set; } = [];

    /// <summary>The classifier's weight, C x D.</summary>
    public float[] Weight => Values(_linear.weight);

    /// <summary>Trains a probe on the training videos and measures it on the test videos. Videos without a label are left out.</summary>
    /// <param name="train">Training features.</param>
    /// <param name="test">Test features.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told after each epoch: the epoch (from 1) and its mean loss.</param>
    /// <param name="cancellationToken">Stops between epochs.</param>
    /// <exception cref="UserErrorException">Labels are missing, a set is empty, features do not fit (65), or the loss is not finite
    /// (1).</exception>
    public static ProbeOutcome Evaluate(
        FeatureSet train, FeatureSet test, LinearProbeOptions? options =
            null, IProgress<(int Epoch, double Loss)>? progress = null, CancellationToken cancellationToken = default)
    {
        options ??= new LinearProbeOptions();
        (train, test) = Checked(train, test);
        FeatureSet? judge = null;
        if (options.Selection == Selection.Holdout)
        {
            var (kept, held) = Holdout.Split(train.Ids, train.Groups, options.HoldoutFraction, options.Seed);
            (train, judge) = (train.Select(kept), train.Select(held));
        }
        else if (options.Selection == Selection.Test)
        {
            judge = test;
        }

        for (var lowered = 0; ; lowered++)
        {
            var at = options with { LearningRate = options.LearningRate / Math.Pow(10, lowered) };
            var last = !options.LowersRate || lowered == Lowerings;
            try
            {
                var outcome = Attempt(train, test, judge, at, progress, cancellationToken);
                if (last || outcome.Result.LossPerEpoch.Max() <= Climb * outcome.Result.LossPerEpoch[0])
                {
                    return outcome;
                }
            }
            catch (UserErrorException e) when (!last && e.ExitCode == ExitCodes.Failed)
            {
                // Not finite: a lower rate may do.
            }
        }
    }

    private static ProbeOutcome Attempt(
        FeatureSet train,
        FeatureSet test,
        FeatureSet? judge,
        LinearProbeOptions options,
        IProgress<(int Epoch, double Loss)>? progress,
        CancellationToken cancellationToken)
    {
        var every = options.Selection == Selection.Test ? options.TestEvery : 1;
        var (bestEpoch, best) = (options.Epochs, -1.0);
        FeatureSet? probabilities = null;
        var trainTop1 = 0.0;
        using var probe = Fit(train, options, null, (epoch, loss, self) =>
        {
            progress?.Report((epoch, loss));
            if (judge is null || (epoch % every != 0 && epoch != options.Epochs))
            {
                return;
            }

            var score = Classification.Measure(self.Probabilities(judge)).Top1;
            if (score > best)
            {
                (bestEpoch, best) = (epoch, score);
                (probabilities, trainTop1) = (self.Probabilities(test), Classification.Measure(self.Probabilities(train)).Top1);
            }
        }, cancellationToken);
        if (probabilities is null)
        {
            (probabilities, trainTop1) = (probe.Probabilities(test), Classification.Measure(probe.Probabilities(train)).Top1);
        }

        return new ProbeOutcome(
            new ProbeResult
            {
                Mode = "features",
                Accuracy = Classification.Measure(probabilities),
                Selection = options.Selection,
                Epoch = bestEpoch,
                Epochs = options.Epochs,
                LearningRate = options.LearningRate,
                TrainTop1 = trainTop1,
                LossPerEpoch = [.. probe.LossPerEpoch],
                Predictions = Classification.Predict(probabilities),
            },
            probabilities);
    }

    /// <summary>Trains a probe for all epochs. The order of the videos in the set does not matter: they are taken by id.</summary>
    /// <param name="train">Training features, all labelled.</param>
    /// <param name="options">How; the selection is not used.</param>
    /// <param name="initialWeight">C x D weights to begin with; drawn from N(0, 0.01) where null. The bias begins at 0.</param>
    /// <param name="afterEpoch">Called with the epoch (from 1), its mean loss and the probe.</param>
    /// <param name="cancellationToken">Stops between epochs.</param>
    /// <exception cref="UserErrorException">There are fewer than two videos or no labels (65), or the loss is not finite (1).</exception>
    public static LinearProbe Fit(
        FeatureSet train, LinearProbeOptions options, float[]? initialWeight =
            null, Action<int, double, LinearProbe>? afterEpoch = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(options);
        if (train.Count < 2 || train.Labels is null)
        {
            throw new UserErrorException($"a linear probe needs at least two labelled training videos, there are "
                + $"{(train.Labels is null ? 0 : train.Count)}: check the data set's labels.", ExitCodes.BadData);
        }

        TorchRuntime.Initialize();
        var probe = new LinearProbe(train.Dimension, train.ClassNames.Length);
        try
        {
            probe.Train(
                train.Select([.. Enumerable.Range(0, train.Count).OrderBy(i => train.Ids[i], StringComparer.Ordinal)]),
                options,
                initialWeight,
                afterEpoch,
                cancellationToken);
            return probe;
        }
        catch
        {
            probe.Dispose();
            throw;
        }
    }

    /// <summary>Raw class scores.</summary>
    /// <param name="features">Features of the same network.</param>
    /// <returns>N x C logits.</returns>
    public float[] Logits(FeatureSet features) => Forward(features, logits => logits.alias());

    /// <summary>Softmax of the class scores, as a set with the same ids and labels.</summary>
    /// <param name="features">Features of the same network.</param>
    public FeatureSet Probabilities(FeatureSet features)
    {
        ArgumentNullException.ThrowIfNull(features);
        return new FeatureSet(
            features.Ids, Forward(features, logits => logits.softmax(1)), features.Labels, features.ClassNames, features.Groups);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _norm.Dispose();
        _linear.Dispose();
    }

    private void Train(
        FeatureSet train,
        LinearProbeOptions options,
        float[]? initialWeight,
        Action<int,
        double,
        LinearProbe>? afterEpoch,
        CancellationToken cancellationToken)
    {
        Initialize(initialWeight, options.Seed);
        using var scope = NewDisposeScope();
        var features = tensor(train.Values, [train.Count, train.Dimension]);
        var labels = tensor(Array.ConvertAll(train.Labels!, l => (long)l));
        var optimizer = optim.SGD(
            [.. _norm.parameters(), .. _linear.parameters()], options.LearningRate, options.Momentum, weight_decay: options.WeightDecay);
        var losses = new List<double>();
        for (var epoch = 1; epoch <= options.Epochs; epoch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (var group in optimizer.ParamGroups)
            {
                group.LearningRate = options.LearningRate * Math.Pow(0.1, options.Milestones.Count(m => epoch > m));
            }

            _norm.train();
            var order = new CounterRandom(options.Seed, Purpose, 1, epoch).Permutation(train.Count);
            var sum = 0.0;
            foreach (var batch in Batches(order, options.BatchSize))
            {
                using var step = NewDisposeScope();
                var rows = tensor(batch);
                var logits = _linear.forward(_norm.forward(features.index_select(0, rows)));
                var loss = functional.cross_entropy(logits, labels.index_select(0, rows));
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                sum += loss.item<float>() * batch.Length;
            }

            var mean = sum / train.Count;
            if (!double.IsFinite(mean))
            {
                throw new UserErrorException($"the linear probe's loss became {mean} in epoch {epoch}: lower "
                    + $"`evaluation.linearProbe.learningRate` (now {options.LearningRate}).", ExitCodes.Failed);
            }

            losses.Add(mean);
            LossPerEpoch = losses;
            afterEpoch?.Invoke(epoch, mean, this);
        }
    }

    private void Initialize(float[]? weight, long seed)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        if (weight is null)
        {
            var random = new CounterRandom(seed, Purpose);
            weight = new float[_linear.weight.numel()];
            for (var i = 0; i < weight.Length; i++)
            {
                weight[i] = (float)(0.01 * random.NextGaussian());
            }
        }

        _linear.weight.copy_(tensor(weight, _linear.weight.shape));
        _linear.bias!.zero_();
    }

    private float[] Forward(FeatureSet features, Func<Tensor, Tensor> then)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        _norm.eval();
        return Values(then(_linear.forward(_norm.forward(tensor(features.Values, [features.Count, features.Dimension])))));
    }

    private static float[] Values(Tensor tensor) => tensor.data<float>().ToArray();

    // Batch normalisation cannot work on a single feature: one left over joins the batch before it.
    private static IEnumerable<long[]> Batches(int[] order, int size)
    {
        size = Math.Max(2, size);
        for (var start = 0; start < order.Length;)
        {
            var end = Math.Min(order.Length, start + size);
            end = order.Length - end == 1 ? order.Length : end;
            yield return Array.ConvertAll(order[start..end], i => (long)i);
            start = end;
        }
    }

    private static (FeatureSet Train, FeatureSet Test) Checked(FeatureSet train, FeatureSet test)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(test);
        var (known, asked) = (train.Labelled(), test.Labelled());
        if (known.Count == 0 || asked.Count == 0)
        {
            throw new UserErrorException(
                $"a linear probe needs labelled videos, but {known.Count} training and {asked.Count} test videos have a label: add labels "
                    + $"to the data set or leave the probe out.", ExitCodes.BadData);
        }

        if (known.Dimension != asked.Dimension || !known.ClassNames.SequenceEqual(asked.ClassNames, StringComparer.Ordinal))
        {
            throw new UserErrorException(
                "training and test features differ in length or classes: make both with one checkpoint from one data set.",
                ExitCodes.BadData);
        }

        return (known, asked);
    }
}
