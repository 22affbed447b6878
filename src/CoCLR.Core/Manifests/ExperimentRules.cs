// Why this exists: the rules that concern several fields, in the same words here (for `coclr run` and the form) and in CEL (for admission).
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Manifests;

/// <summary>Cross-field rules of an experiment.</summary>
public static class ExperimentRules
{
    internal const string CoclrViews = "CoCLR needs both views: set views to [RGB, Flow]";
    internal const string CmcViews = "CMC needs both views: set views to [RGB, Flow]";
    internal const string BatchInQueue = "training.batchSize must not be larger than training.queueSize";
    internal const string QueueMultiple = "training.queueSize must be a multiple of training.batchSize";
    internal const string GroupMultiple = "training.batchSize must be a multiple of training.batchNormGroups";
    internal const string TopKInQueue = "cotrain.topK must be smaller than training.queueSize";
    internal const string FeaturesAlternate = "cotrain.mineIn: features needs cotrain.order: alternating, for its features must stand still";
    internal const string OneSource = "give exactly one of path, volumeClaim, s3 or synthetic";
    internal const string OneValue = "give exactly one of value, secretKeyRef or configMapKeyRef";
    internal const string ReservedName = "names that begin with COCLR_, LD_ or KUBERNETES_ are reserved";

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
            (training.Method == Method.CoCLR && !bothViews, "views", CoclrViews),
            (training.Method == Method.Cmc && !bothViews, "views", CmcViews),
            (training.BatchSize > training.QueueSize, "training.batchSize", BatchInQueue),
            (training.BatchSize <= training.QueueSize && training.QueueSize % training.BatchSize != 0, "training.queueSize", QueueMultiple),
            (training.BatchSize % training.BatchNormGroups != 0, "training.batchNormGroups", GroupMultiple),
            (training.Method == Method.CoCLR && spec.Cotrain.TopK >= training.QueueSize, "cotrain.topK", TopKInQueue),
            (spec.Cotrain is { MineIn: MiningSpace.Features, Order: not CotrainOrder.Alternating }, "cotrain.mineIn", FeaturesAlternate),
            (new object?[] { source.Path, source.VolumeClaim, source.S3, source.Synthetic }.Count(s => s != null) != 1, "dataset.source", OneSource),
        ];
        foreach ((bool _, string field, string message) in rules.Where(r => r.Broken))
        {
            yield return new ManifestProblem($"{path}.{field}", message);
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
}
