// Why this exists: the training loop of the paper, for every method: what is in it reads top to bottom, what differs is in the learners.
using System.Diagnostics;
using System.Globalization;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Stages;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The stages <c>pretrain-*</c> and <c>cycle-N-*</c>.</summary>
public static class ContrastiveTraining
{
    private const int MetricsPerEpoch = 25;
    private const int AnchorsPerEpoch = 6;

    /// <summary>Trains, or goes on where the newest checkpoint stands.</summary>
    /// <param name="context">The stage.</param>
    /// <exception cref="OperationCanceledException">Asked to stop; a checkpoint was written.</exception>
    /// <exception cref="UserErrorException">The loss is NaN or infinite (1), or inputs do not fit (65, 66, 78).</exception>
    public static StageResult Run(StageContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        TrainingSpec training = context.Spec.Training;
        int epochs = context.Stage.Epochs ?? 0;
        OptimizerSpec optimizerSpec = context.Stage.Kind == StageKind.Cotrain ? context.Spec.TurnOptimizer() : training.Optimizer;
        double maxNorm = Decimals.Parse(optimizerSpec.ClipGradientNorm);
        TorchRuntime.Initialize();

        using var data = TrainingData.Open(context);
        using Learner learner = Learner.Create(context, data);
        using Optimizer optimizer = Optimizer.Create(optimizerSpec, learner.Parameters);
        var checkpoints = new CheckpointStore(context.Folder.Stage(context.Stage.Name), training.KeepCheckpoints, message => context.Events.Log(message, "warning"));
        var means = new RunningMeans();
        int epoch = 0;
        int stepInEpoch = 0;
        double best = -1;
        CheckpointInfo? lastGood = null;
        bool resumed = Resume();
        long step = ((long)epoch * data.StepsPerEpoch) + stepInEpoch;
        context.Events.Started(context.DeviceName, epochs, data.StepsPerEpoch, resumed ? step : null);
        context.UsePrecision();
        if (!resumed && epochs > 0 && training.Compatibility == Compatibility.Platform)
        {
            learner.FillQueue(data, (done, total) => context.Events.Progress("fill queue", done, total, "keys"), context.Stop);
        }

        using var speed = new SpeedMeter(data, context.Device);
        int metricEvery = Math.Max(1, data.StepsPerEpoch / MetricsPerEpoch);
        while (epoch < epochs)
        {
            foreach (TrainingBatch batch in data.Epoch(epoch, stepInEpoch))
            {
                using DisposeScope scope = NewDisposeScope();
                optimizer.LearningRate = LearningRateSchedule.Rate(optimizerSpec, epochs, step, data.StepsPerEpoch);

                StepOutcome outcome = learner.Learn(batch, epoch, step);
                double loss = outcome.Loss.item<float>();
                double norm = double.NaN;
                if (outcome.Trains)
                {
                    RequireFinite(loss, step, optimizer.LearningRate);
                    optimizer.ZeroGradients();
                    outcome.Loss.backward();
                    norm = maxNorm > 0 ? optimizer.ClipGradients(maxNorm) : optimizer.GradientNorm();
                    RequireFinite(norm, step, optimizer.LearningRate);
                    optimizer.Step();
                }

                // Before this batch's keys take the places of the oldest, of which some were mined.
                IReadOnlyList<MinedAnchor> anchors = stepInEpoch == 0 ? learner.MinedAnchors(batch, AnchorsPerEpoch) : [];
                learner.Remember(step);

                means.Add(outcome.Values, loss);
                speed.Count(training.BatchSize);
                step++;
                stepInEpoch++;
                context.Events.Progress("train", step, (long)epochs * data.StepsPerEpoch, "steps");
                if (stepInEpoch % metricEvery == 0 || stepInEpoch == data.StepsPerEpoch)
                {
                    var values = new Dictionary<string, double>(outcome.Values)
                    {
                        [MetricNames.Loss] = loss,
                        [MetricNames.LearningRate] = optimizer.LearningRate,
                        [MetricNames.GradientNorm] = norm,
                    };
                    speed.Report(values);
                    context.Events.Metrics(step, (double)step / data.StepsPerEpoch, values);
                }

                if (anchors.Count > 0)
                {
                    context.Events.Mining(epoch, step, context.View.Name(), context.View.Other().Name(), anchors);
                }

                if (stepInEpoch < data.StepsPerEpoch)
                {
                    if (context.Stop.IsCancellationRequested || (training.CheckpointEverySteps is { } every && step % every == 0))
                    {
                        Save(isBest: false);
                    }

                    context.Stop.ThrowIfCancellationRequested();
                }
            }

            epoch++;
            stepInEpoch = 0;
            means.EndEpoch(epoch);
            double score = means.LastEpoch(MetricNames.Top1);
            context.Events.Log(string.Create(CultureInfo.InvariantCulture, $"epoch {epoch} of {epochs}: loss {means.LastEpoch(MetricNames.Loss):0.000}, pretext top-1 {100 * score:0.0} %, {speed.ClipsPerSecond:0} clips/s"));
            bool isBest = score > best;
            best = Math.Max(best, score);
            Save(isBest);
            context.Stop.ThrowIfCancellationRequested();
        }

        if (epochs == 0)
        {
            Save(isBest: false); // The encoder as it is: random, or taken over from a stage that trained both views.
        }

        return context.Result(
            new PretrainResult
            {
                Epochs = epochs,
                Steps = step,
                Loss = means.LastEpoch(MetricNames.Loss),
                PretextTop1 = means.LastEpoch(MetricNames.Top1),
                PretextTop5 = means.LastEpoch(MetricNames.Top5),
                ClipsPerSecond = speed.ClipsPerSecond,
                WaitShare = speed.WaitShare,
                Mining = [.. means.Mining],
            },
            epochsTrained: context.EpochsBehind(context.Stage.Name));

        void Save(bool isBest)
        {
            using DisposeScope scope = NewDisposeScope();
            var tensors = new Dictionary<string, Tensor>(learner.State());
            foreach ((string name, Tensor tensor) in optimizer.State())
            {
                tensors["optimizer." + name] = tensor;
            }

            var scalars = new Dictionary<string, double>(means.State())
            {
                ["stepInEpoch"] = stepInEpoch,
                ["optimizerSteps"] = optimizer.Steps,
                ["best"] = best,
            };
            CheckpointInfo written = checkpoints.Save(learner.Describe(new CheckpointInfo { Stage = context.Stage.Name, Epoch = epoch, Step = step, Scalars = scalars, Texts = InputDescription.Of(context) }), tensors, isBest);
            lastGood = written;
            string file = Path.Combine(context.Folder.Stage(context.Stage.Name), written.File);
            context.Events.Checkpoint(epoch, step, Path.GetRelativePath(context.Folder.Root, file), new FileInfo(file).Length);
        }

        bool Resume()
        {
            using DisposeScope scope = NewDisposeScope();
            using Checkpoint? checkpoint = checkpoints.LoadNewest();
            if (checkpoint == null)
            {
                return false;
            }

            learner.Load(checkpoint, context.Folder.Stage(context.Stage.Name));
            optimizer.Load(checkpoint.Under("optimizer."), (long)checkpoint.Info.Scalars["optimizerSteps"]);
            means.Load(checkpoint.Info.Scalars);
            epoch = checkpoint.Info.Epoch;
            stepInEpoch = (int)checkpoint.Info.Scalars["stepInEpoch"];
            best = checkpoint.Info.Scalars["best"];
            lastGood = checkpoint.Info;
            return true;
        }

        void RequireFinite(double value, long atStep, double rate)
        {
            if (!double.IsFinite(value))
            {
                string block = context.Stage.Kind == StageKind.Cotrain ? "cotrain.optimizer" : "training.optimizer";
                throw new UserErrorException(
                    $"{context.Stage.Name}: the {(double.IsFinite(means.Latest) ? "loss or its gradient" : "loss")} became {value} at step {atStep} with learning rate {rate:G4}. {(lastGood is { } good ? $"The last good checkpoint is {Path.Combine(context.Folder.Stage(context.Stage.Name), good.File)} (step {good.Step})." : "No checkpoint was written before.")} Lower {block}.learningRate or set {block}.clipGradientNorm.",
                    ExitCodes.Failed);
            }
        }
    }

    /// <summary>Means over an epoch, kept exactly over a resume.</summary>
    private sealed class RunningMeans
    {
        private readonly Dictionary<string, double> _sums = [];
        private readonly Dictionary<string, double> _counts = [];
        private readonly Dictionary<string, double> _last = [];

        public double Latest { get; private set; } = double.NaN;

        public List<MiningQuality> Mining { get; } = [];

        public void Add(IReadOnlyDictionary<string, double> values, double loss)
        {
            Latest = loss;
            foreach ((string name, double value) in values.Append(new(MetricNames.Loss, loss)))
            {
                if (double.IsFinite(value))
                {
                    _sums[name] = _sums.GetValueOrDefault(name) + value;
                    _counts[name] = _counts.GetValueOrDefault(name) + 1;
                }
            }
        }

        public void EndEpoch(int epoch)
        {
            _last.Clear();
            foreach ((string name, double sum) in _sums)
            {
                _last[name] = sum / _counts[name];
            }

            AddMining(epoch);
            _sums.Clear();
            _counts.Clear();
        }

        public double LastEpoch(string name) => _last.GetValueOrDefault(name);

        public IEnumerable<KeyValuePair<string, double>> State() =>
            _sums.Select(s => KeyValuePair.Create("sum:" + s.Key, s.Value))
                .Concat(_counts.Select(s => KeyValuePair.Create("count:" + s.Key, s.Value)))
                .Concat(_last.Select(s => KeyValuePair.Create("last:" + s.Key, s.Value)))
                .Concat(Mining.SelectMany(m => new[]
                {
                    KeyValuePair.Create($"mining:{m.Epoch}:precision", m.Precision ?? double.NaN),
                    KeyValuePair.Create($"mining:{m.Epoch}:agreement", m.Agreement ?? double.NaN),
                    KeyValuePair.Create($"mining:{m.Epoch}:age", m.MeanQueueAge),
                }));

        public void Load(IReadOnlyDictionary<string, double> state)
        {
            foreach ((string key, double value) in state)
            {
                string[] parts = key.Split(':', 2);
                switch (parts[0])
                {
                    case "sum": _sums[parts[1]] = value; break;
                    case "count": _counts[parts[1]] = value; break;
                    case "last": _last[parts[1]] = value; break;
                }
            }

            foreach (string key in state.Keys.Where(k => k.StartsWith("mining:", StringComparison.Ordinal) && k.EndsWith(":precision", StringComparison.Ordinal)))
            {
                int epoch = int.Parse(key.Split(':')[1], System.Globalization.CultureInfo.InvariantCulture);
                Mining.Add(Quality(epoch, state[key], state[$"mining:{epoch}:agreement"], state[$"mining:{epoch}:age"]));
            }

            Mining.Sort((a, b) => a.Epoch.CompareTo(b.Epoch));
        }

        private void AddMining(int epoch)
        {
            if (_last.TryGetValue(MetricNames.MiningAgreement, out double agreement))
            {
                Mining.Add(Quality(epoch, _last.GetValueOrDefault(MetricNames.MiningPrecision, double.NaN), agreement, _last.GetValueOrDefault(MetricNames.MiningAge)));
            }
        }

        private static MiningQuality Quality(int epoch, double precision, double agreement, double age) => new()
        {
            Epoch = epoch,
            Precision = double.IsFinite(precision) ? precision : null,
            Agreement = double.IsFinite(agreement) ? agreement : null,
            MeanQueueAge = age,
        };
    }

    /// <summary>Clips a second, the share of time that steps waited for data, and what the process uses.</summary>
    private sealed class SpeedMeter(TrainingData data, Device device) : IDisposable
    {
        private readonly GpuMeter? _gpu = GpuMeter.Open(device);
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly Process _process = Process.GetCurrentProcess();
        private long _clips;
        private long _clipsBefore;
        private int _steps;
        private TimeSpan _reported;
        private TimeSpan _cpuBefore = Process.GetCurrentProcess().TotalProcessorTime;
        private TimeSpan _waitedBefore = data.Waited;
        private readonly TimeSpan _waitedAtStart = data.Waited;

        public double ClipsPerSecond => _clock.Elapsed.TotalSeconds > 0 ? _clips / _clock.Elapsed.TotalSeconds : 0;

        public double WaitShare => _clock.Elapsed.TotalSeconds > 0 ? (data.Waited - _waitedAtStart) / _clock.Elapsed : 0;

        public void Dispose()
        {
            _gpu?.Dispose();
            _process.Dispose();
        }

        public void Count(int clips)
        {
            _clips += clips;
            _steps++;
        }

        public void Report(Dictionary<string, double> values)
        {
            TimeSpan now = _clock.Elapsed;
            TimeSpan passed = now - _reported;
            if (passed <= TimeSpan.Zero)
            {
                return;
            }

            _process.Refresh();
            TimeSpan cpu = _process.TotalProcessorTime;
            values[MetricNames.ClipsPerSecond] = (_clips - _clipsBefore) / passed.TotalSeconds;
            values[MetricNames.StepSeconds] = passed.TotalSeconds / Math.Max(1, _steps);
            values[MetricNames.WaitShare] = (data.Waited - _waitedBefore) / passed;
            values[MetricNames.Memory] = _process.WorkingSet64;
            values[MetricNames.CpuCores] = (cpu - _cpuBefore) / passed;
            if (_gpu?.Read() is { } gpu)
            {
                (values[MetricNames.GpuUse], values[MetricNames.GpuMemory]) = (gpu.Use, gpu.MemoryBytes);
            }

            (_reported, _clipsBefore, _steps, _cpuBefore, _waitedBefore) = (now, _clips, 0, cpu, data.Waited);
        }
    }
}
