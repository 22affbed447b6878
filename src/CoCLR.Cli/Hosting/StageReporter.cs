// Why this exists: tells the world outside the run folder how a stage is doing: the pod's termination message, the operator, a dashboard.
// None of them may slow or fail the training: everything here is sent from the background and from what is on disk.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Results;

namespace CoCLR.Cli.Hosting;

/// <summary>A stage in a few fields: the body of the termination message and of progress pushes (docs/operator.md).</summary>
internal sealed record StageSummary
{
    public required string Stage { get; init; }

    public string? Run { get; init; }

    public int Attempt { get; init; }

    public StageOutcome? Outcome { get; init; }

    public int? ExitCode { get; init; }

    public string? Message { get; init; }

    public int? Epoch { get; init; }

    public int? Epochs { get; init; }

    public long? Step { get; init; }

    public int? Percent { get; init; }

    public long? EtaSeconds { get; init; }

    public int? CheckpointEpoch { get; init; }

    public double? Loss { get; init; }

    /// <summary>Whether the representation had collapsed when it was looked at last; null before.</summary>
    public bool? Collapsed { get; init; }

    public IReadOnlyDictionary<string, double>? Result { get; init; }

    /// <summary>Whether the stage ended with something that the dashboard has not got; null where none is told anything.</summary>
    public bool? Unsent { get; init; }
}

/// <summary>Keeps a <see cref="StageSummary"/> and passes it on.</summary>
internal sealed class StageReporter : IAsyncDisposable
{
    private const int MaxTerminationBytes = 4096;
    private const int MaxMessage = 1024;
    private readonly Lock _gate = new();
    private readonly string? _terminationLog;
    private readonly ProgressPusher? _pusher;
    private readonly EventSender? _sender;
    private StageSummary _summary;

    private StageReporter(string stage, string? terminationLog, ProgressPusher? pusher, EventSender? sender)
    {
        _summary = new StageSummary { Stage = stage };
        _terminationLog = terminationLog;
        _pusher = pusher;
        _sender = sender;
        _pusher?.Begin(Current);
    }

    /// <summary>A reporter to whatever the environment names (docs/operator.md).</summary>
    /// <param name="runFolder">The run folder.</param>
    /// <param name="planFile">The plan that the stage follows.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="tells">Whether this process is the one of the stage's that tells how it is doing; the others only say how they ended.</param>
    /// <param name="hurry">The process was asked to end: nothing waits for a dashboard any more.</param>
    public static StageReporter FromEnvironment(string runFolder, string planFile, string stage, bool tells, CancellationToken hurry) => new(
        stage,
        Environment.GetEnvironmentVariable("COCLR_TERMINATION_LOG"),
        tells ? ProgressPusher.FromEnvironment() : null,
        tells ? EventSender.FromEnvironment(runFolder, planFile, stage, hurry) : null);

    /// <summary>Takes in an event of the stage.</summary>
    public void Observe(RunEvent e)
    {
        lock (_gate)
        {
            _summary = e switch
            {
                StartedEvent started => _summary with { Run = e.Run, Attempt = e.Attempt, Epochs = started.Epochs },
                ProgressEvent { Total: > 0 } progress => _summary with { Percent = (int)Math.Clamp(100 * progress.Done / progress.Total, 0, 100), EtaSeconds = Whole(progress.EtaSeconds) },
                MetricEvent metric => _summary with
                {
                    Step = metric.Step,
                    Epoch = (int?)metric.Epoch,
                    Loss = metric.Values.TryGetValue(MetricNames.Loss, out double loss) && double.IsFinite(loss) ? loss : _summary.Loss,
                    Collapsed = metric.Values.TryGetValue(MetricNames.MonitorCollapsed, out double collapsed) ? collapsed > 0 : _summary.Collapsed,
                },
                CheckpointEvent checkpoint => _summary with { CheckpointEpoch = checkpoint.Epoch },
                ResultEvent result => _summary with { Result = Numbers(result.Result), Percent = 100, EtaSeconds = 0 },
                FinishedEvent finished => _summary with { Outcome = finished.Outcome, ExitCode = finished.ExitCode, Message = finished.Message is { Length: > MaxMessage } text ? text[..MaxMessage] : finished.Message },
                _ => _summary,
            };
        }

        if (e is FinishedEvent)
        {
            WriteTerminationLog();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Task pushed = _pusher?.DisposeAsync().AsTask() ?? Task.CompletedTask;
        if (_sender != null)
        {
            bool all = await _sender.EndAsync().ConfigureAwait(false);
            lock (_gate)
            {
                _summary = _summary with { Unsent = !all };
            }

            WriteTerminationLog();
        }

        await pushed.ConfigureAwait(false);
    }

    private StageSummary Current()
    {
        lock (_gate)
        {
            return _summary;
        }
    }

    private void WriteTerminationLog()
    {
        if (_terminationLog == null)
        {
            return;
        }

        StageSummary summary = Current();
        byte[] bytes = JsonSerializer.SerializeToUtf8Bytes(summary, CoclrJson.Compact);
        if (bytes.Length > MaxTerminationBytes)
        {
            bytes = JsonSerializer.SerializeToUtf8Bytes(summary with { Message = summary.Message?[..Math.Min(200, summary.Message.Length)], Result = null }, CoclrJson.Compact);
        }

        try
        {
            File.WriteAllBytes(_terminationLog, bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Terminal.Say.Error($"cannot write the termination message {_terminationLog}: {e.Message}");
        }
    }

    private static long? Whole(double? seconds) => seconds is { } s && double.IsFinite(s) && s < int.MaxValue ? (long)Math.Ceiling(s) : null;

    private static Dictionary<string, double>? Numbers(JsonElement result)
    {
        Outcome? outcome = result.Deserialize<StageResult>(CoclrJson.Compact)?.Outcome;
        var numbers = new Dictionary<string, double>();
        void Add(string name, double? value)
        {
            if (value is { } v && double.IsFinite(v))
            {
                numbers[name] = v;
            }
        }

        void AddRetrieval(RetrievalResult? retrieval)
        {
            foreach (Recall recall in retrieval?.Recalls ?? [])
            {
                Add($"recallAt{recall.K}", recall.Value);
            }
        }

        switch (outcome)
        {
            case ProbeResult probe:
                Add("linearProbeTop1", probe.Accuracy.Top1);
                Add("linearProbeTop5", probe.Accuracy.Top5);
                break;
            case FineTuneResult finetune:
                Add("finetuneTop1", finetune.Accuracy.Top1);
                break;
            case RetrievalResult retrieval:
                AddRetrieval(retrieval);
                break;
            case FusionResult fusion:
                Add("linearProbeTop1", fusion.Probe?.Top1);
                Add("finetuneTop1", fusion.FineTune?.Top1);
                AddRetrieval(fusion.Retrieval);
                break;
            case PretrainResult pretrain:
                Add("loss", pretrain.Loss);
                Add("pretextTop1", pretrain.PretextTop1);
                break;
            case DataResult data:
                Add("videos", data.Videos);
                break;
        }

        return numbers.Count == 0 ? null : numbers;
    }
}
