// Why this exists: the training loop of the paper, for every method: what is in it reads top to bottom, what differs is in the methods.
using System.Globalization;
using System.IO.Hashing;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The stages <c>pretrain-*</c> and <c>cycle-N-*</c>.</summary>
public sealed class ContrastiveTraining : IDisposable
{
    private const int MetricsPerEpoch = 25;
    private const int AnchorsPerEpoch = 6;

    /// <summary>Fewer steps than this do not pay for cuDNN's trials of every convolution.</summary>
    private const int StepsThatPayForTrials = 500;

    /// <summary>In the first cuDNN tries its convolutions and libraries are loaded; in the second memory settles.</summary>
    private const int WarmUpSteps = 2;

    private readonly StageContext _context;
    private readonly OptimizerSpec _optimizerSpec;
    private readonly double _maxNorm;
    private readonly int _epochs;
    private readonly TrainingData _data;
    private readonly Learner _learner;
    private readonly Optimizer _optimizer;
    private readonly ShardMean _mean;
    private readonly CheckpointStore _checkpoints;
    private readonly StepNumbers _numbers = new();
    private readonly RunningMeans _means = new();
    private readonly TrainingMonitor? _monitor;
    private int _warmUp; // steps of it that are left
    private int _epoch;
    private int _stepInEpoch;
    private double _best = -1;
    private CheckpointInfo? _lastGood;

    private ContrastiveTraining(StageContext context)
    {
        TorchRuntime.Initialize();
        TrainingSpec training = context.Spec.Training;
        _context = context;
        _optimizerSpec = context.Stage.Kind == StageKind.Cotrain ? context.Spec.TurnOptimizer() : training.Optimizer;
        _maxNorm = Decimals.Parse(_optimizerSpec.ClipGradientNorm);
        _epochs = context.Stage.Epochs ?? 0;
        _data = TrainingData.Open(context);
        _learner = Learner.Create(context);
        _monitor = IsFirst ? TrainingMonitor.Open(context) : null;
        _optimizer = Optimizer.Create(_optimizerSpec, _learner.Parameters);
        _mean = new ShardMean(OwnShards.Of(training, context.Ranks), context.Ranks, _optimizer.Gradients, _learner.Networks);
        _checkpoints = new CheckpointStore(Folder, training.KeepCheckpoints, message => context.Events.Log(message, "warning"));
    }

    /// <summary>Rank 0 tells, measures and writes; the others compute the same and keep quiet.</summary>
    private bool IsFirst => _context.Ranks.Rank == 0;

    private string Folder => _context.Folder.Stage(_context.Stage.Name);

    private long Step => ((long)_epoch * _data.StepsPerEpoch) + _stepInEpoch;

    /// <summary>Trains, or goes on where the newest checkpoint stands.</summary>
    /// <param name="context">The stage.</param>
    /// <exception cref="OperationCanceledException">Asked to stop; a checkpoint was written.</exception>
    /// <exception cref="UserErrorException">The loss is NaN or infinite (1), or inputs do not fit (65, 66, 78).</exception>
    public static StageResult Run(StageContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using var training = new ContrastiveTraining(context);
        try
        {
            return training.Train();
        }
        catch (Exception e) when (DeviceMemory.IsFull(e))
        {
            (string, long)? kept = training._lastGood is { } last ? (Path.Combine(training.Folder, last.File), last.Step) : null;
            throw FullMemory.Error(context, training.TryBatch, kept, e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _numbers.Dispose();
        _monitor?.Dispose();
        _optimizer.Dispose();
        _learner.Dispose();
        _data.Dispose();
    }

    private StageResult Train()
    {
        Begin();
        using var speed = new SpeedMeter(_data, _context.Device);
        while (_epoch < _epochs)
        {
            foreach (TrainingBatch batch in _data.Epoch(_epoch, _stepInEpoch))
            {
                using DisposeScope scope = NewDisposeScope();
                _optimizer.LearningRate = LearningRateSchedule.Rate(_optimizerSpec, _epochs, Step, _data.StepsPerEpoch);
                BatchKeys keys = _learner.EncodeKeys(batch, Step);
                bool trains = _learner.Trains;
                List<LearningStep> made = Learn(keys, trains);
                Tensor? norm = trains ? Descend() : null;
                IReadOnlyList<MinedAnchor> anchors = _stepInEpoch == 0 && IsFirst ? _learner.MinedAnchors(keys, made[0], _data, AnchorsPerEpoch) : [];
                _learner.Remember(keys);
                Note([.. made.Select(m => m.Numbers)], norm);
                speed.Count(batch.Size);
                _stepInEpoch++;
                Tell(speed, anchors);
                if (_stepInEpoch < _data.StepsPerEpoch)
                {
                    SaveWithinTheEpoch();
                }
            }

            EndEpoch(speed);
        }

        if (_epochs == 0)
        {
            Save(isBest: false); // The encoder as it is: random, or taken over from a stage that trained both views.
        }

        return Result(speed);
    }

    /// <summary>Takes over the newest checkpoint, or fills the queue.</summary>
    private void Begin()
    {
        bool resumed = Resume();
        _context.Events.Started(_context.DeviceName, _epochs, _data.StepsPerEpoch, resumed ? Step : null);
        _context.UsePrecision();
        if (_context.Device.type == DeviceType.CUDA)
        {
            TorchRuntime.SetCudnnBenchmark(((long)_epochs * _data.StepsPerEpoch) - Step >= StepsThatPayForTrials);
            _warmUp = WarmUpSteps;
        }

        if (!resumed && _epochs > 0)
        {
            _learner.FindNeighbours(_context, _data);
        }

        if (!resumed && _epochs > 0 && _context.Spec.Training.Compatibility == Compatibility.Platform)
        {
            _learner.FillQueue(_data, (done, total) => _context.Events.Progress("fill queue", done, total, "keys"), _context.Stop);
        }
    }

    /// <summary>Losses and gradients of this rank's shards, one after the other; leaves the mean gradient of all shards.</summary>
    private List<LearningStep> Learn(BatchKeys keys, bool trains)
    {
        var made = new List<LearningStep>();
        _mean.Over(shard =>
        {
            LearningStep step = _learner.Learn(keys, shard);
            if (trains)
            {
                step.Loss.backward();
            }

            made.Add(step);
        });
        return made;
    }

    /// <summary>One step of the optimizer against the gradient.</summary>
    /// <returns>The gradient's norm before clipping, a scalar on the device.</returns>
    private Tensor Descend()
    {
        Tensor norm = _maxNorm > 0 ? _optimizer.ClipGradients(_maxNorm) : _optimizer.GradientNorm();
        _optimizer.Step();
        return norm;
    }

    private void Note(IReadOnlyList<IReadOnlyDictionary<string, Tensor>> shards, Tensor? norm)
    {
        IReadOnlyDictionary<string, Tensor> numbers = StepNumbers.Mean(shards, _context.Ranks);
        _numbers.Note(Step, _optimizer.LearningRate, norm is null ? numbers : numbers.Append(new(MetricNames.GradientNorm, norm)));
    }

    /// <summary>Says what the step that has just ended gave, as often as people want to see it.</summary>
    private void Tell(SpeedMeter speed, IReadOnlyList<MinedAnchor> anchors)
    {
        TellProgress(speed);
        int every = Math.Max(1, _data.StepsPerEpoch / MetricsPerEpoch);
        if (_stepInEpoch % every == 0 || _stepInEpoch == _data.StepsPerEpoch)
        {
            StepReading last = ReadNumbers()[^1];
            var values = new Dictionary<string, double>(last.Values) { [MetricNames.LearningRate] = last.LearningRate };
            values.TryAdd(MetricNames.GradientNorm, double.NaN);
            speed.Report(values);
            _context.Events.Metrics(Step, (double)Step / _data.StepsPerEpoch, values);
        }

        if (anchors.Count > 0)
        {
            _context.Events.Mining(_epoch, Step, _context.View.Name(), _context.View.Other().Name(), anchors);
        }
    }

    /// <summary>The first steps on a GPU take seconds: they are told as what they are, and are no part of the clips a second.</summary>
    private void TellProgress(SpeedMeter speed)
    {
        if (_warmUp == 0)
        {
            _context.Events.Progress("train", Step, (long)_epochs * _data.StepsPerEpoch, "steps");
            return;
        }

        _warmUp--;
        torch.cuda.synchronize();
        speed.Restart();
        _context.Events.Progress("warm up", WarmUpSteps - _warmUp, WarmUpSteps, "steps");
    }

    private void SaveWithinTheEpoch()
    {
        bool stop = IsAskedToStop();
        if (stop || (_context.Spec.Training.CheckpointEverySteps is { } every && Step % every == 0))
        {
            Save(isBest: false);
        }

        ThrowIf(stop);
    }

    /// <summary>All ranks stop after the same step, whichever of them was asked.</summary>
    private bool IsAskedToStop() => _context.Ranks.Any(_context.Stop.IsCancellationRequested);

    private void ThrowIf(bool stop)
    {
        if (stop)
        {
            _context.Ranks.Barrier(); // rank 0 has written the checkpoint
            throw new OperationCanceledException("asked to stop", _context.Stop);
        }
    }

    private void EndEpoch(SpeedMeter speed)
    {
        _epoch++;
        _stepInEpoch = 0;
        _means.EndEpoch(_epoch);
        double score = _means.LastEpoch(MetricNames.Top1);
        _context.Events.Log(string.Create(
            CultureInfo.InvariantCulture,
            $"epoch {_epoch} of {_epochs}: loss {_means.LastEpoch(MetricNames.Loss):0.000}, pretext top-1 {100 * score:0.0} %, {speed.ClipsPerSecond:0} clips/s"));
        if (_monitor?.IsDue(_epoch) == true)
        {
            _monitor.Look(_learner.Trained, _epoch, Step, _means.LastEpoch(MetricNames.Loss));
        }

        bool isBest = score > _best;
        _best = Math.Max(_best, score);
        Save(isBest);
        ThrowIf(IsAskedToStop());
    }

    private StageResult Result(SpeedMeter speed) => _context.Result(
        new PretrainResult
        {
            Epochs = _epochs,
            Steps = Step,
            Loss = _means.LastEpoch(MetricNames.Loss),
            PretextTop1 = _means.LastEpoch(MetricNames.Top1),
            PretextTop5 = _means.LastEpoch(MetricNames.Top5),
            ClipsPerSecond = speed.ClipsPerSecond,
            WaitShare = speed.WaitShare,
            Mining = [.. _means.Mining],
            Monitor = [.. _monitor?.Points ?? []],
        },
        epochsTrained: _context.EpochsBehind(_context.Stage.Name));

    /// <summary>Takes the numbers of the steps since the last call off the device.</summary>
    /// <exception cref="UserErrorException">A loss or a gradient was not finite (1).</exception>
    private IReadOnlyList<StepReading> ReadNumbers()
    {
        IReadOnlyList<StepReading> readings = _numbers.Read();
        foreach (StepReading reading in readings)
        {
            RequireFinite("loss", reading.Values[MetricNames.Loss], reading);
            RequireFinite("loss or its gradient", reading.Values.GetValueOrDefault(MetricNames.GradientNorm), reading);
            _means.Add(reading);
        }

        return readings;
    }

    private void RequireFinite(string what, double value, StepReading reading)
    {
        if (!double.IsFinite(value))
        {
            string good = _lastGood is { } last ? $"The last good checkpoint is {Path.Combine(Folder, last.File)} (step {last.Step})." : "No checkpoint was written before.";
            string block = _context.Stage.Kind == StageKind.Cotrain ? "cotrain.optimizer" : "training.optimizer";
            throw new UserErrorException(
                $"{_context.Stage.Name}: the {what} became {value} at step {reading.Step} with learning rate {reading.LearningRate:G4}. {good} "
                + $"Lower {block}.learningRate or set {block}.clipGradientNorm.",
                ExitCodes.Failed);
        }
    }

    private void TryBatch(int batch)
    {
        using DisposeScope scope = NewDisposeScope();
        _optimizer.ZeroGradients();
        _learner.Try(batch, _context.Spec.Clip.Frames, _context.Spec.Clip.Size).backward();
        _optimizer.Step();
    }

    private void Save(bool isBest)
    {
        ReadNumbers();
        RequireSameWeights();
        if (!IsFirst)
        {
            return;
        }

        using DisposeScope scope = NewDisposeScope();
        var tensors = new Dictionary<string, Tensor>(_learner.State());
        foreach ((string name, Tensor tensor) in _optimizer.State())
        {
            tensors["optimizer." + name] = tensor;
        }

        ModelSpec model = _context.Spec.Model;
        _lastGood = _checkpoints.Save(
            new CheckpointInfo
            {
                Stage = _context.Stage.Name,
                Epoch = _epoch,
                Step = Step,
                Architecture = model.Backbone.ToString(),
                Width = model.Backbone == BackboneName.S3DMini ? Decimals.Parse(model.Width) : 1,
                ProjectionSize = model.ProjectionSize,
                Scalars = new Dictionary<string, double>(_means.State().Concat(_monitor?.State() ?? []))
                {
                    ["stepInEpoch"] = _stepInEpoch,
                    ["optimizerSteps"] = _optimizer.Steps,
                    ["best"] = _best,
                    [StageContext.ThreadsKey] = TorchRuntime.Threads,
                },
                Texts = InputDescription.Of(_context),
            },
            tensors,
            isBest);
        string file = Path.Combine(Folder, _lastGood.File);
        _context.Events.Checkpoint(_epoch, Step, Path.GetRelativePath(_context.Folder.Root, file), new FileInfo(file).Length);
    }

    /// <summary>A rank that went its own way is noticed before a checkpoint is made of it.</summary>
    private void RequireSameWeights()
    {
        if (_context.Ranks.World == 1)
        {
            return;
        }

        using DisposeScope scope = NewDisposeScope();
        var hash = new XxHash3();
        foreach (FlatModule network in _learner.Networks)
        {
            Safetensors.WithBytes(network.Parameters.All, bytes => hash.Append(bytes));
        }

        _context.Ranks.RequireSame(hash.GetCurrentHashAsUInt64(), $"weights at step {Step}");
    }

    private bool Resume()
    {
        using DisposeScope scope = NewDisposeScope();
        using Checkpoint? checkpoint = _checkpoints.LoadNewest();
        _context.Ranks.RequireSame((ulong)(checkpoint?.Info.Step ?? -1), "a newest checkpoint");
        if (checkpoint == null)
        {
            return false;
        }

        _context.UseThreads(checkpoint.Info.Scalars);
        _learner.Load(checkpoint, Folder);
        _optimizer.Load(checkpoint.Under("optimizer."), (long)checkpoint.Info.Scalars["optimizerSteps"]);
        _means.Load(checkpoint.Info.Scalars);
        _monitor?.Load(checkpoint.Info.Scalars);
        _epoch = checkpoint.Info.Epoch;
        _stepInEpoch = (int)checkpoint.Info.Scalars["stepInEpoch"];
        _best = checkpoint.Info.Scalars["best"];
        _lastGood = checkpoint.Info;
        RequireSameWeights();
        return true;
    }
}
