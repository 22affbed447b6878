// Why this exists: sends a stage's events to a dashboard. events.jsonl is the buffer: what could not be sent is sent later, also by the next attempt,
// and sending a line twice changes nothing (the identity of an event).
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using CoCLR.Engine;
using CoCLR.Engine.Stages;

namespace CoCLR.Cli.Hosting;

/// <summary>Follows events.jsonl and posts what it gains to COCLR_DASHBOARD_URL.</summary>
internal sealed class EventSender : IAsyncDisposable
{
    private const int MaxBody = 60 * 1024;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FinalPatience = TimeSpan.FromSeconds(10);
    private readonly Uri _address;
    private readonly string? _tokenFile;
    private readonly string _positionFile;
    private readonly string _planFile;
    private readonly EventTail _tail;
    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false }) { Timeout = TimeSpan.FromSeconds(15) };
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private readonly Queue<string> _unsent = new();
    private bool _planSent;

    private EventSender(Uri dashboard, string? tokenFile, RunFolder folder, string stage)
    {
        _address = new Uri(dashboard, "/api/v1/ingest");
        _tokenFile = tokenFile;
        _planFile = folder.PlanFile;
        _positionFile = Path.Combine(folder.Stage(stage), "events.sent");
        _tail = new EventTail(folder.EventsFile(stage), position: File.Exists(_positionFile) && long.TryParse(File.ReadAllText(_positionFile), out long position) ? position : 0);
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>A sender to where the environment says; null when it says nothing.</summary>
    /// <param name="runFolder">The run folder.</param>
    /// <param name="stage">The stage.</param>
    public static EventSender? FromEnvironment(string runFolder, string stage) =>
        Uri.TryCreate(Environment.GetEnvironmentVariable("COCLR_DASHBOARD_URL"), UriKind.Absolute, out Uri? dashboard)
            ? new EventSender(dashboard, Environment.GetEnvironmentVariable("COCLR_DASHBOARD_TOKEN_FILE") is { Length: > 0 } token ? token : null, new RunFolder(runFolder), stage)
            : null;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(false);
        using var patience = new CancellationTokenSource(FinalPatience);
        try
        {
            while (await SendAsync(patience.Token).ConfigureAwait(false) == Sent.Some)
            {
                // Until the file has no more.
            }
        }
        catch (OperationCanceledException)
        {
            // What is left is sent by the next stage's or attempt's sender, or read from the run folder.
        }

        _client.Dispose();
        _stop.Dispose();
    }

    private async Task LoopAsync()
    {
        TimeSpan wait = Interval;
        try
        {
            while (true)
            {
                Sent sent = await SendAsync(_stop.Token).ConfigureAwait(false);
                wait = sent == Sent.Failed ? TimeSpan.FromTicks(Math.Min(MaxBackoff.Ticks, wait.Ticks * 2)) : Interval;
                if (sent != Sent.Some)
                {
                    await Task.Delay(wait, _stop.Token).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The stage ends.
        }
    }

    private async Task<Sent> SendAsync(CancellationToken stop)
    {
        if (_unsent.Count == 0)
        {
            foreach (string line in _tail.ReadLines(MaxBody * 4))
            {
                _unsent.Enqueue(line);
            }
        }

        if (_unsent.Count == 0)
        {
            return Sent.Nothing;
        }

        var body = new StringBuilder();
        int lines = 0;
        foreach (string line in _unsent)
        {
            if (lines > 0 && body.Length + line.Length > MaxBody)
            {
                break;
            }

            body.Append(line).Append('\n');
            lines++;
        }

        try
        {
            if (!_planSent && !(_planSent = await SendAsync(HttpMethod.Put, new Uri(_address, "/api/v1/ingest/plan"), await File.ReadAllTextAsync(_planFile, stop).ConfigureAwait(false), "application/json", stop).ConfigureAwait(false)))
            {
                return Sent.Failed;
            }

            if (!await SendAsync(HttpMethod.Post, _address, body.ToString(), "application/x-ndjson", stop).ConfigureAwait(false))
            {
                return Sent.Failed;
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is TaskCanceledException && !stop.IsCancellationRequested))
        {
            return Sent.Failed;
        }

        for (int i = 0; i < lines; i++)
        {
            _unsent.Dequeue();
        }

        if (_unsent.Count == 0)
        {
            WholeFile.WriteText(_positionFile, _tail.Position.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        return Sent.Some;
    }

    private async Task<bool> SendAsync(HttpMethod method, Uri address, string text, string mediaType, CancellationToken stop)
    {
        using var packed = new MemoryStream();
        await using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            await gzip.WriteAsync(Encoding.UTF8.GetBytes(text), stop).ConfigureAwait(false);
        }

        using var request = new HttpRequestMessage(method, address) { Content = new ByteArrayContent(packed.ToArray()) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        request.Content.Headers.ContentEncoding.Add("gzip");
        if (_tokenFile != null)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(_tokenFile, stop).ConfigureAwait(false)).Trim());
        }

        using HttpResponseMessage response = await _client.SendAsync(request, stop).ConfigureAwait(false);

        // A line that the dashboard calls wrong would block all that follow: it stays in events.jsonl, and the rest goes on.
        return response.IsSuccessStatusCode || response.StatusCode is HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity;
    }

    private enum Sent
    {
        Nothing,
        Some,
        Failed,
    }
}
