# Completion of kogge for PowerShell: kogge completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName kogge -ScriptBlock {
    param($word, $line, $cursor)
    $words = @($line.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor } | ForEach-Object { $_.Extent.Text })
    # Older shells drop an empty word on the way to a program.
    if ($word -eq '') { $words += '""' }
    $rest = @($words | Select-Object -Skip 1)
    & $words[0] __complete @rest 2>$null | Where-Object { $_ -notmatch '^:\d+$' } | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if (-not $about) { $about = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $about)
    }
}
