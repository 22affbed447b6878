// Why this exists: finds pages and runs by a part of their names.
using System.Security.Claims;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Authorization;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Dialogs;

/// <summary>One field that leads to any run or page.</summary>
public sealed partial class GoToDialog
{
    private Target? _target;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [CascadingParameter]
    private IMudDialogInstance? Dialog { get; set; }

    [CascadingParameter]
    private Task<AuthenticationState>? User { get; set; }

    private static readonly Target[] Pages =
    [
        new("Experiments", "page", ""), new("Compare", "page", "compare"), new("Benchmarks", "page", "benchmarks"),
            new("Data", "page", "data"), new("New experiment", "page", "new"), new("Access", "page", "settings"), new("API", "page", "api"),
    ];

    private async Task<IEnumerable<Target>> FindAsync(string? text, CancellationToken cancel)
    {
        ClaimsPrincipal user = User is null ? new ClaimsPrincipal() : (await User).User;
        string words = text?.Trim() ?? "";
        return Pages.Where(p => (p.Link != "new" || user.MayEdit()) && p.Name.Contains(words, StringComparison.OrdinalIgnoreCase))
            .Concat(Store.Runs.Where(r => user.MaySee(r)
                && (r.Run.Contains(words, StringComparison.OrdinalIgnoreCase)
                || r.Experiment.Contains(words, StringComparison.OrdinalIgnoreCase)))
                .OrderByDescending(r => r.Updated).Take(12).Select(r => new Target(r.Run, $"{r.Method} · {r.State}", Links.Run(r.Run))));
    }

    private void Go()
    {
        if (_target != null)
        {
            Dialog?.Close();
            Navigation.NavigateTo(_target.Link);
        }
    }

    private sealed record Target(string Name, string Hint, string Link);
}
