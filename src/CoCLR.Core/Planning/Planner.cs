// Why this exists: the whole pipeline logic as pure functions: from a spec to its stages, and from what is observed to what is to be done
// next.
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Planning;

/// <summary>Plans experiments.</summary>
public static class Planner
{
    /// <summary>Name of the last stage of every run.</summary>
    public const string ReportStage = "report";

    /// <summary>Plans an experiment: which stages, in which order, fed by which checkpoints (paper, section 3.3; method.md 1c).</summary>
    /// <param name="name">Name of the experiment.</param>
    /// <param name="spec">A valid spec.</param>
    /// <param name="run">Id of the run; the name and the start of the hash when null.</param>
    public static StagePlan Plan(string name, ExperimentSpec spec, string? run = null)
    {
        string hash = SpecHash.Of(spec);
        return new StagePlan { Run = run ?? $"{name}-{hash[..8]}", Experiment = name, SpecHash = hash, Spec = spec, Stages = Stages(spec) };
    }

    /// <summary>Name of a view in stage names.</summary>
    /// <param name="view">A view.</param>
    public static string Name(this View view) => view == View.Rgb ? "rgb" : "flow";

    /// <summary>The other view.</summary>
    /// <param name="view">A view.</param>
    public static View Other(this View view) => view == View.Rgb ? View.Flow : View.Rgb;

    private static List<Stage> Stages(ExperimentSpec spec)
    {
        var stages = new List<Stage>();
        View[] views = [.. spec.Views.Distinct().Order()];
        stages.Add(new Stage { Name = "decode", Kind = StageKind.Decode });
        if (views.Contains(View.Flow))
        {
            stages.Add(new Stage { Name = "flow", Kind = StageKind.Flow, DependsOn = ["decode"], NeedsDevice = true });
        }

        // The newest checkpoint of each view.
        var newest = new Dictionary<View, string>();
        bool jointPretraining = spec.Training.Method.Traits().Joint;
        foreach (View view in views)
        {
            var stage =
                new Stage { Name = $"pretrain-{view.Name()}", Kind = StageKind.Pretrain, View = view, Epochs = spec.PretrainEpochs(view) };
            newest[view] = AddTraining(stages, jointPretraining ? Share(stage, newest) : stage);
        }

        int cycles = spec.Training.Method.Traits().CoTrains ? spec.Cotrain.Cycles : 0;
        for (int cycle = 1; cycle <= cycles; cycle++)
        {
            foreach (View view in views)
            {
                // Each turn starts from the newest checkpoint of its view and mines with the newest of the other: the second turn with what
                // the first has just made.
                var stage = new Stage
                {
                    Name = $"cycle-{cycle}-{view.Name()}",
                    Kind = StageKind.Cotrain,
                    View = view,
                    Cycle = cycle,
                    Epochs = spec.Cotrain.EpochsPerTurn,
                    InitializeFrom = newest[view],
                    MineWith = newest[view.Other()],
                };
                newest[view] = AddTraining(stages, spec.Cotrain.Order == CotrainOrder.Simultaneous ? Share(stage, newest) : stage);
            }
        }

        foreach (View view in views)
        {
            AddEvaluation(stages, spec.Evaluation, view, newest[view]);
        }

        string[] measured =
            [.. stages.Where(s => s.Kind is StageKind.Probe or StageKind.Retrieve or StageKind.Finetune).Select(s => s.Name)];
        if (views.Length == 2 && measured.Length > 0)
        {
            stages.Add(new Stage { Name = "fuse", Kind = StageKind.Fuse, DependsOn = measured });
        }

        string[] ends = [.. stages.Select(s => s.Name).Except(stages.SelectMany(s => s.DependsOn))];
        stages.Add(new Stage { Name = ReportStage, Kind = StageKind.Report, DependsOn = ends });
        return stages;
    }

    /// <summary>Joint learning: the RGB stage trains both views, the flow stage takes over the flow encoder that it made.</summary>
    private static Stage Share(Stage stage, Dictionary<View, string> newest) => stage.View == View.Rgb
        ? stage with { Joint = true }
        : stage with { InitializeFrom = newest[View.Rgb], MineWith = null, Epochs = 0 };

    private static string AddTraining(List<Stage> stages, Stage stage)
    {
        bool seesFlow = stage.View == View.Flow || stage.MineWith != null || stage.Joint;
        stages.Add(stage with
        {
            NeedsDevice = true,
            DependsOn = [.. new[] { seesFlow ? "flow" : "decode", stage.InitializeFrom, stage.MineWith }.OfType<string>().Distinct()],
        });
        return stage.Name;
    }

    private static void AddEvaluation(List<Stage> stages, EvaluationSpec evaluation, View view, string checkpoint)
    {
        void Add(bool enabled, string name, StageKind kind, int? epochs = null)
        {
            if (enabled)
            {
                stages.Add(
                    new Stage
                    {
                        Name = $"{name}-{view.Name()}", Kind = kind, View = view, DependsOn = [checkpoint], Evaluates = checkpoint,
                        Epochs = epochs, NeedsDevice = true
                    });
            }
        }

        Add(evaluation.LinearProbe.Enabled, "probe", StageKind.Probe, evaluation.LinearProbe.Epochs);
        Add(evaluation.Finetune.Enabled, "finetune", StageKind.Finetune, evaluation.Finetune.Epochs);
        Add(evaluation.Retrieval.Enabled, "retrieve", StageKind.Retrieve);
    }
}
