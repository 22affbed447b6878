// Why this exists: who trains for days does not watch a page: what ends, stalls or collapses is told to where people are, once, also when
// the dashboard was away meanwhile.
using System.Globalization;
using System.Threading.Channels;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Something worth telling.</summary>
/// <param name="Event">done, failed, stalled or collapsed.</param>
/// <param name="Run">The run.</param>
/// <param name="Message">What happened, in a sentence.</param>
/// <param name="At">When it was seen.</param>
internal sealed record Notice(string Event, RunInfo Run, string Message, DateTimeOffset At);

/// <summary>Watches runs and tells webhooks.</summary>
internal sealed class Webhooks(
    IOptions<DashboardOptions> options, RunStore store, RunResults results, LiveFeed feed, WebhookSender sender, TimeProvider time,
    ILogger<Webhooks> logger) : BackgroundService
{
    // The engine's monitor tells 1 when all embeddings have become alike.
    private const string CollapsedMetric = "monitor/collapsed";

    private readonly WebhookSettings _settings = options.Value.Webhooks;
    private readonly string _toldFile = Path.Combine(options.Value.ResolvedDataDir, "webhooks.told");
    private readonly Dictionary<string, HashSet<string>> _told = [];
    private readonly HashSet<string> _seenAtWork = [];
    private DateTimeOffset _since;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_settings.Targets.Length == 0)
        {
            return;
        }

        _since = ReadTold();
        var queues = _settings.Targets.Select(
            target => (
                Target: target,
                Queue: Channel.CreateBounded<Notice>(new BoundedChannelOptions(1000) { FullMode = BoundedChannelFullMode.DropOldest })))
            .ToArray();
        Task[] senders = [.. queues.Select(q => SendAllAsync(q.Target, q.Queue.Reader, stoppingToken))];
        using Subscription changes = feed.Listen(LiveFeed.All);
        Task change = changes.NextAsync(stoppingToken).AsTask();
        try
        {
            while (true)
            {
                foreach (Notice notice in Scan())
                {
                    foreach ((WebhookTarget target, Channel<Notice> queue) in queues.Where(q => q.Target.Events.Length == 0 || q.Target.Events.Contains(notice.Event)))
                    {
                        queue.Writer.TryWrite(notice);
                    }
                }

                WriteTold();

                // A run that says nothing changes nothing: it is found by looking.
                if (await Task.WhenAny(change, Task.Delay(TimeSpan.FromMinutes(1), time, stoppingToken)).ConfigureAwait(false) == change)
                {
                    change = changes.NextAsync(stoppingToken).AsTask();
                }

                await Task.Delay(TimeSpan.FromMilliseconds(200), time, stoppingToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            await Task.WhenAll(senders).ConfigureAwait(false);
        }
    }

    /// <summary>What is new since the last look.</summary>
    private List<Notice> Scan()
    {
        var notices = new List<Notice>();
        DateTimeOffset now = time.GetUtcNow();
        foreach (RunInfo run in store.Runs)
        {
            bool atWork = run.State is RunState.Running or RunState.Pending;
            if (atWork)
            {
                _seenAtWork.Add(run.Run);
            }

            // Old runs that are found again, at a start or in a folder that was put there, are no news.
            HashSet<string> told = _told.TryGetValue(run.Run, out HashSet<string>? known) ? known : _told[run.Run] = [];
            if (!_seenAtWork.Contains(run.Run) && run.Updated <= _since)
            {
                continue;
            }

            string? happened = run.State switch
            {
                RunState.Succeeded => "done",
                RunState.Failed => "failed",
                RunState.Lost => "stalled",
                RunState.Running when now - run.Updated > TimeSpan.FromMinutes(_settings.StalledMinutes) => "stalled",
                RunState.Running when HasCollapsed(run) => "collapsed",
                _ => null,
            };
            if (happened != null && told.Add(happened))
            {
                notices.Add(new Notice(happened, run, Words(happened, run), now));
            }
            else if (happened == null && atWork)
            {
                // Resumed, or heard again: what comes now is news again.
                told.Remove("stalled");
                told.Remove("failed");
                told.Remove("done");
            }
        }

        return notices;
    }

    private bool HasCollapsed(RunInfo run) =>
        store.Curves(run.Run, (_, name) => name == CollapsedMetric, 1).Curves.Any(c => c.Values.LastOrDefault() > 0);

    private string Words(string happened, RunInfo run) => happened switch
    {
        "done" => results.Report(run)?.Rows.FirstOrDefault(
            r => r.LinearProbe != null && r.Kind == CoCLR.Core.Results.ReportRowKind.Learned) is { } row
            ? string.Create(CultureInfo.InvariantCulture, $"every stage is done; linear probe {100 * row.LinearProbe:0.0} ({row.View})")
            : "every stage is done",
        "failed" => run.Stages.FirstOrDefault(
            s => s.Phase == CoCLR.Core.Planning.StagePhase.Failed) is { } stage ? $"{stage.Name} failed" : "it has failed",
        "stalled" => run.State == RunState.Lost ? "its process is gone; resume continues at the checkpoint" : "it runs but says nothing",
        _ => "its embeddings have become alike; lower the learning rate or lengthen the warm-up",
    };

    private async Task SendAllAsync(WebhookTarget target, ChannelReader<Notice> notices, CancellationToken stop)
    {
        try
        {
            await foreach (Notice notice in notices.ReadAllAsync(stop).ConfigureAwait(false))
            {
                await sender.SendAsync(target, notice, stop).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The dashboard ends.
        }
    }

    private DateTimeOffset ReadTold()
    {
        try
        {
            return DateTimeOffset.Parse(File.ReadAllText(_toldFile), CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
        }
        catch (Exception e) when (e is IOException or FormatException or UnauthorizedAccessException)
        {
            return time.GetUtcNow();
        }
    }

    private void WriteTold()
    {
        try
        {
            File.WriteAllText(_toldFile, time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("What webhooks were told cannot be kept in {File}: {Error}", _toldFile, e.Message);
        }
    }
}
