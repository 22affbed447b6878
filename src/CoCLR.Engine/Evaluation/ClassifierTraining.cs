// Why this exists: the linear probe end to end and fine-tuning are one loop: clips in, class scores out, cross entropy, a step.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using static TorchSharp.torch;

namespace CoCLR.Engine.Evaluation;

/// <summary>How a classifier on clips is trained.</summary>
public sealed record ClassifierOptions
{
    /// <summary>Passes over the training videos.</summary>
    public required int Epochs { get; init; }

    /// <summary>Learning rate of the classifier.</summary>
    public required double LearningRate { get; init; }

    /// <summary>The backbone's learning rate as a share of the classifier's; a probe's backbone does not learn.</summary>
    public double BackboneRate { get; init; } = 0.1;

    /// <summary>Weight decay (L2).</summary>
    public double WeightDecay { get; init; } = 1e-3;

    /// <summary>True for SGD with momentum 0.9, false for Adam.</summary>
    public bool Sgd { get; init; }

    /// <summary>Epochs after which the learning rate falls to a tenth.</summary>
    public required IReadOnlyList<int> Milestones { get; init; }

    /// <summary>How the epoch is chosen.</summary>
    public Selection Selection { get; init; } = Selection.Last;

    /// <summary>Epochs between two looks at the videos that choose the epoch.</summary>
    public int JudgeEvery { get; init; } = 1;

    /// <summary>Seed of the dropout.</summary>
    public long Seed { get; init; }

    /// <summary>The linear probe's: SGD 0.1, 100 epochs, decay at 60 % and 80 % (method.md 1e, `last`).</summary>
    /// <param name="epochs">Passes.</param>
    public static ClassifierOptions Probe(int epochs = 100) =>
        new() { Epochs = epochs, LearningRate = 0.1, Sgd = true, Milestones = [epochs * 60 / 100, epochs * 80 / 100] };

    /// <summary>Fine-tuning's: Adam 1e-3 and a tenth of it below, 500 epochs, decay at 80 % and 90 % (method.md 1e, `ft`).</summary>
    /// <param name="epochs">Passes.</param>
    public static ClassifierOptions FineTune(int epochs = 500) =>
        new() { Epochs = epochs, LearningRate = 1e-3, Milestones = [epochs * 80 / 100, epochs * 90 / 100] };
}

/// <summary>What a trained classifier on clips says.</summary>
/// <param name="Accuracy">On the test videos; softmax averaged over clips and crops.</param>
/// <param name="Epoch">The epoch reported, counted from 1.</param>
/// <param name="Probabilities">Softmax of each test video, for two-stream fusion.</param>
public sealed record ClassifierOutcome(Accuracy Accuracy, int Epoch, FeatureSet Probabilities);

/// <summary>Where the training of a classifier stands: kept in the checkpoint beside the weights and the optimizer.</summary>
public sealed record ClassifierProgress
{
    /// <summary>Mean loss of each epoch done.</summary>
    public IReadOnlyList<double> LossPerEpoch { get; init; } = [];

    /// <summary>The best epoch so far, counted from 1; 0 when none was judged.</summary>
    public int BestEpoch { get; init; }

    /// <summary>Its top-1 accuracy on the videos that choose.</summary>
    public double BestTop1 { get; init; } = -1;
}

/// <summary>
/// Trains a classifier on clips: `last` (probe) with a frozen backbone, `ft` (fine-tuning) as a whole. A host may drive the epochs itself
/// and save between them.
/// </summary>
public sealed class ClassifierTraining : IDisposable
{
    private static readonly ulong Purpose = CounterRandom.Purpose("classifier dropout");
    private readonly ClassifierOptions _options;

    /// <summary>Prepares the training; the classifier stays the caller's.</summary>
    /// <param name="classifier">The network, on its device.</param>
    /// <param name="options">How.</param>
    public ClassifierTraining(VideoClassifier classifier, ClassifierOptions options)
    {
        ArgumentNullException.ThrowIfNull(classifier);
        ArgumentNullException.ThrowIfNull(options);
        Classifier = classifier;
        _options = options;
        Optimizer = CreateOptimizer();
    }

    /// <summary>The network.</summary>
    public VideoClassifier Classifier { get; }

    /// <summary>Its optimizer; its state belongs into the checkpoint.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Where it stands; set when a checkpoint was loaded.</summary>
    public ClassifierProgress Progress { get; set; } = new();

    /// <summary>Weights of the best epoch on the CPU, by name; null where nothing is chosen. Set when a checkpoint was loaded.</summary>
    public IReadOnlyDictionary<string, Tensor>? BestWeights { get; set; }

    /// <summary>Trains from where <see cref="Progress"/> stands to the last epoch, then tests.</summary>
    /// <param name="train">Training clips, augmented.</param>
    /// <param name="test">Test clips: sliding, and crops.</param>
    /// <param name="judge">The clips that choose the epoch: a held-out part, or the test clips; not used with `last`.</param>
    /// <param name="afterEpoch">Called after each epoch, to save and to tell.</param>
    /// <param name="steps">Told after each step.</param>
    /// <param name="cancellationToken">Stops between steps.</param>
    /// <exception cref="UserErrorException">Labels are missing (65), or the loss is not finite (1).</exception>
    public ClassifierOutcome Run(
        IClipBatches train, IClipBatches test, IClipBatches? judge = null, Action<ClassifierTraining>? afterEpoch = null,
        IProgress<PassProgress>? steps = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(test);
        if (_options.Selection != Selection.Last && judge is null)
        {
            throw new ArgumentNullException(nameof(judge), $"selection `{_options.Selection}` needs clips that choose the epoch");
        }

        for (var epoch = Progress.LossPerEpoch.Count + 1; epoch <= _options.Epochs; epoch++)
        {
            Optimizer.LearningRate = _options.LearningRate * LearningRateSchedule.Step(epoch - 1, _options.Milestones);
            var loss = TrainEpoch(train, epoch, steps, cancellationToken);
            Progress = Progress with { LossPerEpoch = [.. Progress.LossPerEpoch, loss] };
            if (_options.Selection != Selection.Last && (epoch % _options.JudgeEvery == 0 || epoch == _options.Epochs))
            {
                Judge(judge!, epoch, cancellationToken);
            }

            afterEpoch?.Invoke(this);
        }

        if (BestWeights is not null)
        {
            Restore(BestWeights);
        }

        var probabilities = Predict(test, steps, cancellationToken);
        return new ClassifierOutcome(
            Classification.Measure(probabilities), BestWeights is null ? _options.Epochs : Progress.BestEpoch, probabilities);
    }

    /// <summary>Softmax of each video, averaged over its clips and crops.</summary>
    /// <param name="clips">Sliding clips, and crops.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    public FeatureSet Predict(IClipBatches clips, IProgress<PassProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        Classifier.eval();
        return FeatureExtractor.Mean(clips, batch => Classifier.forward(batch).softmax(1), progress, cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Optimizer.Dispose();
        Forget();
    }

    private double TrainEpoch(IClipBatches train, int epoch, IProgress<PassProgress>? steps, CancellationToken cancellationToken)
    {
        var labels = train.Labels ?? throw new UserErrorException(
            "a classifier needs labelled training videos: add labels to the data set or leave the probe and fine-tuning out.",
            ExitCodes.BadData);
        Classifier.train();
        var (sum, clips, step) = (0.0, 0, 0);
        foreach (var batch in train.Pass(epoch, cancellationToken))
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                cancellationToken.ThrowIfCancellationRequested();
                step++;

                // Batch normalisation over a single feature has no variance.
                if (Classifier.Probe && batch.Videos.Length == 1)
                {
                    continue;
                }

                Classifier.SeedDropout((long)(new CounterRandom(_options.Seed, Purpose, epoch, step).NextUInt64() >> 1));
                var truth = tensor(Array.ConvertAll(batch.Videos, v => (long)labels[v]), device: batch.Clips.device);
                var loss = nn.functional.cross_entropy(Classifier.forward(batch.Clips), truth);
                Optimizer.ZeroGradients();
                loss.backward();
                Optimizer.Step();

                var value = loss.item<float>();
                if (!float.IsFinite(value))
                {
                    throw new UserErrorException(
                        $"the classifier's loss became {value} in epoch {epoch}, step {step}, with learning rate "
                            + $"{Optimizer.LearningRate:g3}. The last good checkpoint is of epoch {epoch - 1}. Lower the learning rate.",
                        ExitCodes.Failed);
                }

                sum += value * (double)batch.Videos.Length;
                clips += batch.Videos.Length;
                steps?.Report(new PassProgress(clips, train.ClipsInPass));
            }
        }

        return clips == 0
            ? throw new UserErrorException("the training set has no clips: check the data set and `batchSize`.", ExitCodes.BadData)
            : sum / clips;
    }

    private void Judge(IClipBatches clips, int epoch, CancellationToken cancellationToken)
    {
        var top1 = Classification.Measure(Predict(clips, null, cancellationToken)).Top1;
        if (top1 <= Progress.BestTop1)
        {
            return;
        }

        Forget();
        Progress = Progress with { BestEpoch = epoch, BestTop1 = top1 };
        BestWeights = Classifier.state_dict().ToDictionary(e => e.Key, e => e.Value.detach().to(CPU, copy: true).DetachFromDisposeScope());
    }

    private void Restore(IReadOnlyDictionary<string, Tensor> weights)
    {
        using var noGrad = no_grad();
        foreach (var (name, value) in Classifier.state_dict())
        {
            value.copy_(weights[name]);
        }
    }

    private void Forget()
    {
        foreach (var tensor in BestWeights?.Values ?? [])
        {
            tensor.Dispose();
        }

        BestWeights = null;
    }

    private Optimizer CreateOptimizer()
    {
        var parameters = Classifier.named_parameters().Where(p => p.parameter.requires_grad)
            .Select(p => (Name: p.name, Parameter: p.parameter)).ToLookup(p => p.Name.StartsWith("backbone.", StringComparison.Ordinal));
        ParameterGroup[] groups = [new([.. parameters[false]]), new([.. parameters[true]], _options.BackboneRate)];
        return _options.Sgd
            ? new Sgd(groups, _options.LearningRate, _options.WeightDecay)
            : new Adam(groups, _options.LearningRate, _options.WeightDecay);
    }
}
