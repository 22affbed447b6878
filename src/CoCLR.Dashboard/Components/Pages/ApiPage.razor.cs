// Why this exists: reads the reference of the API from the running server.
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>The reference of the API and of the hub, made from the running server, so that it cannot be out of date.</summary>
public sealed partial class ApiPage
{
    private Entry[] _entries = [];

    private sealed record Entry(string Tag, string Method, string Path, string? Summary, string? Description);

    // Of the messages of WatchRun.
    [Inject]
    private Microsoft.AspNetCore.Mvc.ApiExplorer.IApiDescriptionGroupCollectionProvider Explorer { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    private static readonly (string Name, string Text)[] HubFields =
    [
        ("run", "the run with its stages, as GET /api/v1/runs/{run} has it"),
        ("from, to", "cursors: this message continues the first, the next one continues the second"),
        ("curves", "new points by curve: stage, attempt, name, steps, epochs, times (Unix milliseconds), values (null where not finite)"),
        ("logs", "new lines: cursor, stage, attempt, time, level, message"),
        ("deleted", "true in the last message of a run that was deleted or may not be seen any more; the stream ends after it"),
    ];

    private string JavaScript => $$"""
        import { HubConnectionBuilder } from '@microsoft/signalr';

        const hub = new HubConnectionBuilder()
          .withUrl('{{Navigation.BaseUri}}hubs/runs',
            { accessTokenFactory: () => token })
          .withAutomaticReconnect().build();

        let cursor = 0;
        function follow() {
          hub.stream('WatchRun', run, cursor, null, true, false)
            .subscribe({ next: delta => {
              cursor = delta.to;
              if (delta.deleted) return console.log('deleted');
              for (const c of delta.curves)
                console.log(c.stage, c.name, c.steps, c.values);
            }, error: console.error, complete() {} });
        }

        // A stream ends with its connection: open it again.
        hub.onreconnected(follow);
        await hub.start();
        follow();
        """;

    private string CSharp => $$"""
        var hub = new HubConnectionBuilder()
            .WithUrl("{{Navigation.BaseUri}}hubs/runs",
                o => o.AccessTokenProvider = () => Task.FromResult(token))
            .WithAutomaticReconnect().Build();
        await hub.StartAsync();

        long cursor = 0;
        for (bool deleted = false; !deleted;)
        {
            try
            {
                await foreach (JsonElement delta in hub.StreamAsync<JsonElement>(
                    "WatchRun", run, cursor, null, true, false))
                {
                    cursor = delta.GetProperty("to").GetInt64();
                    Console.WriteLine(delta.GetProperty("curves"));
                    deleted = delta.GetProperty("deleted").GetBoolean();
                }
            }
            catch (Exception e) when (e is HubException or OperationCanceledException or InvalidOperationException)
            {
                // A stream ends with its connection: open it again.
                await Task.Delay(1000);
            }
        }
        """;

    /// <inheritdoc/>
    protected override void OnInitialized() => _entries =
    [
        .. Explorer.ApiDescriptionGroups.Items.SelectMany(g => g.Items)
            .Where(d => d.RelativePath?.StartsWith("api/", StringComparison.Ordinal) == true).Select(d => new Entry(
            d.ActionDescriptor.EndpointMetadata.OfType<Microsoft.AspNetCore.Http.Metadata.ITagsMetadata>().LastOrDefault()?.Tags[0]
                ?? "Other",
            d.HttpMethod ?? "", "/" + d.RelativePath,
            d.ActionDescriptor.EndpointMetadata.OfType<Microsoft.AspNetCore.Http.Metadata.IEndpointSummaryMetadata>()
                .LastOrDefault()?.Summary,
            d.ActionDescriptor.EndpointMetadata.OfType<Microsoft.AspNetCore.Http.Metadata.IEndpointDescriptionMetadata>()
                .LastOrDefault()?.Description)),
    ];
}
