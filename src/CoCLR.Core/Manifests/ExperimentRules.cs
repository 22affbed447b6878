// Why this exists: the rules that concern several fields, in the same words here (for `coclr run` and the form) and in CEL (for admission).
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Manifests;

/// <summary>Cross-field rules of an experiment.</summary>
public static class ExperimentRules
{
    internal const string BatchInQueue = "training.batchSize must not be larger than training.queueSize";
    internal const string QueueMultiple = "training.queueSize must be a multiple of training.batchSize";
    internal const string ShardPower = "training.shards must be a power of two: 1, 2, 4, 8, ... (sums over shards are taken in a binary tree)";
    internal const string ShardMultiple = "training.batchSize must be a multiple of training.shards";
    internal const string GroupMultiple = "a shard, training.batchSize / training.shards, must be a multiple of training.batchNormGroups";
    internal const string TopKInQueue = "cotrain.topK must be smaller than the queue of the turns (cotrain.queueSize, or training.queueSize)";
    internal const string TurnQueueMultiple = "cotrain.queueSize must be a multiple of training.batchSize";
    internal const string VideosAlternate = "cotrain.mineAmong: videos needs cotrain.order: alternating, for the miner must stand still";
    internal const string WholeVideos = "cotrain.mineWith: both, whiten and mutual need cotrain.mineAmong: videos";
    internal const string FeaturesAlternate = "cotrain.mineIn: features needs cotrain.order: alternating, for its features must stand still";
    internal const string PretrainSchedule =
        "milestones and warmupEpochs of training.optimizer must lie within the epochs of pre-training "
        + "(training.epochs, or cotrain.rgbPretrainEpochs and cotrain.flowPretrainEpochs)";

    internal const string TurnSchedule =
        "milestones and warmupEpochs of the turns must lie within cotrain.epochsPerTurn: "
        + "give them in cotrain.optimizer, which takes what is absent from training.optimizer";

    internal const string RgbScheduleCel =
        $"!self.views.exists(v, v == 'RGB') || {RgbEpochs} == 0 || "
        + $"({Training}.warmupEpochs <= {RgbEpochs} && ({Training}.schedule != 'step' || !has({Training}.milestones) || {Training}.milestones.all(m, m < {RgbEpochs})))";

    internal const string FlowScheduleCel =
        $"!self.views.exists(v, v == 'Flow') || {FlowEpochs} == 0 || "
        + $"({Training}.warmupEpochs <= {FlowEpochs} && ({Training}.schedule != 'step' || !has({Training}.milestones) || {Training}.milestones.all(m, m < {FlowEpochs})))";

    internal const string TurnScheduleCel =
        "self.training.method != 'CoCLR' || self.cotrain.cycles == 0 || "
        + $"(({Turn}.warmupEpochs) ? self.cotrain.optimizer.warmupEpochs : {Training}.warmupEpochs) <= self.cotrain.epochsPerTurn && "
        + $"(({Turn}.schedule) ? self.cotrain.optimizer.schedule : {Training}.schedule) != 'step' || "
        + $"({Turn}.milestones) ? self.cotrain.optimizer.milestones.all(m, m < self.cotrain.epochsPerTurn) : "
        + $"!has({Training}.milestones) || {Training}.milestones.all(m, m < self.cotrain.epochsPerTurn))))";

    private const string Training = "self.training.optimizer";
    private const string Turn = "has(self.cotrain.optimizer) && has(self.cotrain.optimizer";

    private const string RgbEpochs =
        "(self.training.method == 'CoCLR' && has(self.cotrain.rgbPretrainEpochs) ? self.cotrain.rgbPretrainEpochs : self.training.epochs)";

    private const string FlowEpochs =
        "(self.training.method == 'CoCLR' && has(self.cotrain.flowPretrainEpochs) ? self.cotrain.flowPretrainEpochs : self.training.epochs)";

    internal const string OneSource = "give exactly one of path, volumeClaim, s3 or synthetic";
    internal const string OneValue = "give exactly one of value, secretKeyRef or configMapKeyRef";
    internal const string SystemPriority = "scheduling.priorityClassName must not be one of the system's own (system-...)";
    internal const string GpusShareShards =
        "resources.gpus must divide training.shards: each GPU of a training stage computes some of the shards of every batch, and one that has none would be held idle. "
        + "Give more shards, or one GPU; several experiments side by side are a CoCLRBenchmark with parallelism";

    internal const string ResourcePrefix = "the name of an extended resource does not begin with requests.";
    internal const string LongPrefix = "the prefix of a label key has at most 253 characters";
    internal const string TolerationWithoutKey = "without a key the operator must be Exists, which tolerates every taint";
    internal const string TolerationValue = "with the operator Exists there is no value: leave it out, or use Equal";
    internal const string TolerationSeconds = "tolerationSeconds needs effect: NoExecute";
    internal const string ReservedName = "names that begin with COCLR_, LD_ or KUBERNETES_ are reserved";

    internal static string NeedsBothViews(string method) => $"{method} needs both views: set views to [RGB, Flow]";

    /// <summary>What is wrong with a spec whose fields are each valid.</summary>
    /// <param name="spec">A spec.</param>
    /// <param name="path">Its path, such as spec or spec.template.</param>
    public static IEnumerable<ManifestProblem> Check(ExperimentSpec spec, string path = "spec")
    {
        TrainingSpec training = spec.Training;
        bool bothViews = spec.Views.Contains(View.Rgb) && spec.Views.Contains(View.Flow);
        DatasetSource source = spec.Dataset.Source;
        (bool Broken, string Field, string Message)[] rules =
        [
            (training.Method.Traits().NeedsBothViews && !bothViews, "views", NeedsBothViews(training.Method.DisplayName())),
            (training.BatchSize > training.QueueSize, "training.batchSize", BatchInQueue),
            (training.BatchSize <= training.QueueSize && training.QueueSize % training.BatchSize != 0, "training.queueSize", QueueMultiple),
            (!int.IsPow2(training.Shards), "training.shards", ShardPower),
            (training.BatchSize % training.Shards != 0, "training.shards", ShardMultiple),
            (training.BatchSize % training.Shards == 0 && training.BatchSize / training.Shards % training.BatchNormGroups != 0, "training.batchNormGroups", GroupMultiple),
            (training.Method.Traits().CoTrains && spec.Cotrain.MineAmong == MiningScope.Queue && spec.Cotrain.TopK >= (spec.Cotrain.QueueSize ?? training.QueueSize), "cotrain.topK", TopKInQueue),
            (spec.Cotrain is { MineAmong: MiningScope.Videos, Order: not CotrainOrder.Alternating }, "cotrain.mineAmong", VideosAlternate),
            (spec.Cotrain is { MineAmong: MiningScope.Queue } and not { MineWith: MiningViews.Miner, Whiten: 0, Mutual: false }, "cotrain.mineAmong", WholeVideos),
            (spec.Cotrain.QueueSize is { } length && (length < training.BatchSize || length % training.BatchSize != 0), "cotrain.queueSize", TurnQueueMultiple),
            (spec.Cotrain is { MineIn: MiningSpace.Features, Order: not CotrainOrder.Alternating }, "cotrain.mineIn", FeaturesAlternate),
            (spec.Scheduling?.PriorityClassName?.StartsWith("system-", StringComparison.Ordinal) == true, "scheduling.priorityClassName", SystemPriority),
            (spec.Resources.Gpus > 1 && training.Shards % spec.Resources.Gpus != 0, "resources.gpus", GpusShareShards),
            (spec.Resources.GpuResourceName.StartsWith("requests.", StringComparison.Ordinal), "resources.gpuResourceName", ResourcePrefix),
            (new object?[] { source.Path, source.VolumeClaim, source.S3, source.Synthetic }.Count(s => s != null) != 1, "dataset.source", OneSource),
        ];
        foreach ((bool _, string field, string message) in rules.Where(r => r.Broken))
        {
            yield return new ManifestProblem($"{path}.{field}", message);
        }

        foreach (ManifestProblem problem in CheckSchedules(spec, path).Concat(CheckScheduling(spec.Scheduling, $"{path}.scheduling")))
        {
            yield return problem;
        }

        for (int i = 0; i < spec.Env.Count; i++)
        {
            EnvironmentVariableSpec variable = spec.Env[i];
            if (new object?[] { variable.Value, variable.SecretKeyRef, variable.ConfigMapKeyRef }.Count(v => v != null) != 1)
            {
                yield return new ManifestProblem($"{path}.env[{i}]", OneValue);
            }

            if (variable.Name.StartsWith("COCLR_", StringComparison.Ordinal) || variable.Name.StartsWith("LD_", StringComparison.Ordinal) || variable.Name.StartsWith("KUBERNETES_", StringComparison.Ordinal))
            {
                yield return new ManifestProblem($"{path}.env[{i}].name", ReservedName);
            }
        }
    }

    /// <summary>A milestone or a warm-up that a stage is too short for would change nothing, silently.</summary>
    private static IEnumerable<ManifestProblem> CheckSchedules(ExperimentSpec spec, string path)
    {
        OptimizerSpec training = spec.Training.Optimizer;
        foreach (View view in spec.Views.Distinct().Where(v => spec.PretrainEpochs(v) > 0))
        {
            if (Beyond(training, spec.PretrainEpochs(view)) is { } beyond)
            {
                yield return new ManifestProblem($"{path}.training.optimizer.{beyond.Field}", $"{beyond.Words} of {(view == View.Rgb ? "RGB" : "Flow")} ({PretrainSchedule})");
                break;
            }
        }

        if (spec.Training.Method.Traits().CoTrains && spec.Cotrain.Cycles > 0 && Beyond(spec.TurnOptimizer(), spec.Cotrain.EpochsPerTurn) is { } late)
        {
            bool own = late.Field == "milestones" ? spec.Cotrain.Optimizer?.Milestones != null : spec.Cotrain.Optimizer?.WarmupEpochs != null;
            yield return new ManifestProblem($"{path}.{(own ? "cotrain" : "training")}.optimizer.{late.Field}", $"{late.Words} of a turn ({TurnSchedule})");
        }
    }

    private static (string Field, string Words)? Beyond(OptimizerSpec optimizer, int epochs) =>
        optimizer.WarmupEpochs > epochs ? ("warmupEpochs", $"a warm-up of {optimizer.WarmupEpochs} epochs is longer than the {epochs} epochs")
        : optimizer is { Schedule: Schedule.Step, Milestones: { } milestones } && milestones.Any(m => m >= epochs)
            ? ("milestones", $"milestone {milestones.First(m => m >= epochs)} lies beyond the {epochs} epochs")
        : null;

    private static IEnumerable<ManifestProblem> CheckScheduling(SchedulingSpec? scheduling, string path)
    {
        static bool IsLong(string? key) => key?.IndexOf('/', StringComparison.Ordinal) > 253;
        foreach ((NodeAffinityTerm term, int i) in (scheduling?.Affinity ?? []).Select((t, i) => (t, i)).Where(t => IsLong(t.t.Key)))
        {
            yield return new ManifestProblem($"{path}.affinity[{i}].key", LongPrefix);
        }

        foreach ((TolerationSpec toleration, int i) in (scheduling?.Tolerations ?? []).Select((t, i) => (t, i)))
        {
            (bool Broken, string Field, string Message)[] rules =
            [
                (IsLong(toleration.Key), "key", LongPrefix),
                (toleration is { Key: null, Operator: not TolerationOperator.Exists }, "operator", TolerationWithoutKey),
                (toleration is { Operator: TolerationOperator.Exists, Value.Length: > 0 }, "value", TolerationValue),
                (toleration is { TolerationSeconds: not null, Effect: not TaintEffect.NoExecute }, "tolerationSeconds", TolerationSeconds),
            ];
            foreach ((bool _, string field, string message) in rules.Where(r => r.Broken))
            {
                yield return new ManifestProblem($"{path}.tolerations[{i}].{field}", message);
            }
        }
    }
}
